"""manage.py token."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tasks.models import ApiToken

pytestmark = pytest.mark.django_db


def create(*options: str, name: str = "ci") -> str:
    out = StringIO()
    call_command("token", "create", name, "--scope", "jobs:write", *options, stdout=out)
    return out.getvalue()


def test_the_token_alone_is_printed_and_only_its_hash_is_kept():
    text = create().removesuffix("\n")
    token = ApiToken.objects.get(name="ci")
    assert (token.digest, token.scopes) == (ApiToken.digest_of(text), ["jobs:write"])
    assert (token.expires_at, token.rate_per_minute) == (None, None)


def test_it_may_end_and_have_a_limit_of_its_own():
    create("--days", "2", "--rate", "90")
    token = ApiToken.objects.get(name="ci")
    assert timedelta(days=1) < token.expires_at - timezone.now() <= timedelta(days=2)
    assert token.rate_per_minute == 90


@pytest.mark.parametrize(("option", "value"), [("--days", "0"), ("--rate", "-1"), ("--rate", "2147483648")])
def test_a_number_out_of_range_is_refused(option, value):
    with pytest.raises(CommandError, match=option):
        create(option, value)
    assert ApiToken.objects.count() == 0


def test_a_name_stands_for_one_token():
    create()
    with pytest.raises(CommandError, match="choose another name"):
        create()


def test_tokens_are_listed_and_revoked():
    text = create()
    out = StringIO()
    call_command("token", "revoke", "ci", stdout=out)
    assert "ci is revoked" in out.getvalue()
    out = StringIO()
    call_command("token", "list", stdout=out)
    assert "ci" in out.getvalue()
    assert "revoked" in out.getvalue()
    assert text.strip() not in out.getvalue()
    out = StringIO()
    call_command("token", "list", "--json", stdout=out)
    assert [(each["name"], each["condition"]) for each in json.loads(out.getvalue())] == [("ci", "revoked")]
    with pytest.raises(CommandError, match="revoked already"):
        call_command("token", "revoke", "ci")
    with pytest.raises(CommandError, match="choose another name"):
        create()
    with pytest.raises(CommandError, match="no token 'nobody'"):
        call_command("token", "revoke", "nobody")
