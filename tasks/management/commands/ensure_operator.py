"""manage.py ensure_operator: `make up` calls it, so that there is somebody to log in as."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from tasks.people import ensure_groups


class Command(BaseCommand):
    help = (
        "Make sure that OPERATOR_NAME can log in to the admin with OPERATOR_PASSWORD and do everything there, and that "
        "there are groups of people who may do less."
    )

    def handle(self, **_: Any) -> None:
        name, password = settings.TASKS_OPERATOR_NAME, settings.TASKS_OPERATOR_PASSWORD
        if not password:
            raise CommandError("OPERATOR_PASSWORD is not set")
        User = get_user_model()
        user, _created = User.objects.get_or_create(
            **{User.USERNAME_FIELD: name}, defaults={"is_staff": True, "is_superuser": True}
        )
        if not user.check_password(password):
            user.set_password(password)
            user.save(update_fields=["password"])
        ensure_groups()
