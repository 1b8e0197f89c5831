"""Accounts that reach the operator console with a password that everybody tries."""

from collections.abc import Iterator

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import check_password
from django.db.models import Q

from tasks.doctor.check import Check, Finding, Unknown

# A hash is made to cost nearly half a second, so few are tried: 4 accounts with 5 passwords each take some 8 s.
MOST_ACCOUNTS = 4
TRIED = ("admin", "password", "changeme", "12345678")


def staff_passwords() -> Iterator[Finding | Unknown]:
    """The strongest accounts first."""
    User = get_user_model()
    staff = User.objects.filter(Q(is_staff=True) | Q(is_superuser=True), is_active=True)
    accounts = list(staff.order_by("-is_superuser", "-last_login", "pk"))
    for account in accounts[:MOST_ACCOUNTS]:
        # not account.check_password, which writes a stronger hash where it can
        if any(check_password(tried, account.password) for tried in (account.get_username(), *TRIED)):
            yield Finding(
                f"the account {account.get_username()} has a password that everybody tries first",
                f"Run `manage.py changepassword {account.get_username()}`.",
            )
    if untried := accounts[MOST_ACCOUNTS:]:
        yield Unknown(
            f"{len(untried)} of {len(accounts)} staff accounts were not tried: each try is slow by design",
            "Give staff rights to few, and let AUTH_PASSWORD_VALIDATORS refuse common passwords.",
        )


CHECKS = (
    Check(
        "staff-passwords",
        "no staff account has a password that everybody tries",
        staff_passwords,
        needs=("database", "migrations"),
    ),
)
