"""The end of a token."""

import pytest

from tasks.errors import IllegalTransition
from tasks.models import ApiToken, WebhookEndpoint
from tasks.tokens import revoke

pytestmark = pytest.mark.django_db


def endpoint(creator: str) -> WebhookEndpoint:
    return WebhookEndpoint.objects.create(url="https://example.com/", events=[], owner=creator, created_by=creator)


def test_a_revoked_token_opens_nothing_and_its_endpoints_hear_nothing():
    token, _ = ApiToken.issue("ci", ["jobs:read"])
    mine, other = endpoint("token:ci"), endpoint("token:ci2")
    assert token.allows("jobs:read")
    assert not revoke("ci").allows("jobs:read")
    mine.refresh_from_db()
    other.refresh_from_db()
    assert (mine.disabled_why, other.disabled_at) == ("its token was revoked", None)


def test_it_ends_once():
    ApiToken.issue("ci", ["jobs:read"])
    revoke("ci")
    with pytest.raises(IllegalTransition, match="revoked already"):
        revoke("ci")
    with pytest.raises(ApiToken.DoesNotExist):
        revoke("nobody")
