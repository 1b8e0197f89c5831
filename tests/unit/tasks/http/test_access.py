"""Tokens are believed for a moment, and no longer."""

from datetime import timedelta

import pytest
from django.test import RequestFactory
from django.utils import timezone
from ninja.errors import AuthorizationError

from tasks.http import access
from tasks.http.access import REMEMBERED_SECONDS, RecentTokens, Token
from tasks.models import ApiToken

pytestmark = pytest.mark.django_db


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(access, "recent_tokens", RecentTokens(clock))
    return clock


def enter(text: str, verb: str = "jobs.enqueue") -> str | None:
    return Token(verb)(RequestFactory().post("/", headers={"Authorization": f"Bearer {text}"}))


def test_a_token_is_looked_up_once_in_a_while(clock, django_assert_num_queries):
    _, text = ApiToken.issue("t", ["jobs:write"])
    assert enter(text) == "token:t"
    with django_assert_num_queries(0):
        assert enter(text) == "token:t"
    clock.now += REMEMBERED_SECONDS
    with django_assert_num_queries(1):
        assert enter(text) == "token:t"


def test_a_revocation_counts_after_the_delay(clock):
    token, text = ApiToken.issue("t", ["jobs:write"])
    enter(text)
    token.delete()
    clock.now += REMEMBERED_SECONDS - 0.1
    assert enter(text) == "token:t"
    clock.now += 0.1
    assert enter(text) is None


def test_a_change_of_scope_counts_after_the_delay(clock):
    token, text = ApiToken.issue("t", ["jobs:write"])
    enter(text)
    ApiToken.objects.filter(pk=token.pk).update(scopes=["jobs:read"])
    clock.now += REMEMBERED_SECONDS
    with pytest.raises(AuthorizationError, match="jobs:write"):
        enter(text)
    assert enter(text, "jobs.view") == "token:t"


def test_expiry_counts_at_once(clock, monkeypatch, django_assert_num_queries):
    _, text = ApiToken.issue("t", ["jobs:write"], expires_at=timezone.now() + timedelta(hours=1))
    enter(text)
    later = timezone.now() + timedelta(hours=1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    with django_assert_num_queries(0):
        assert enter(text) is None


def test_a_refusal_is_not_remembered(clock):
    token, text = ApiToken.issue("t", ["jobs:write"])
    digest = token.digest
    ApiToken.objects.filter(pk=token.pk).update(digest="0" * 64)
    assert enter(text) is None
    ApiToken.objects.filter(pk=token.pk).update(digest=digest)
    assert enter(text) == "token:t"


def test_many_tokens_take_no_more_room_than_their_limit(clock, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(access, "MOST_REMEMBERED", 2)
    texts = [ApiToken.issue(name, ["jobs:write"])[1] for name in "abc"]
    assert [enter(text) for text in texts] == ["token:a", "token:b", "token:c"]
    with django_assert_num_queries(0):
        enter(texts[2])
    assert len(access.recent_tokens._known) <= 2


def test_the_last_use_is_written_once_a_minute(clock, monkeypatch):
    token, text = ApiToken.issue("t", ["jobs:write"])
    begin = timezone.now()
    noted = []
    for seconds in (0, 1, 59, 61, 62):
        monkeypatch.setattr(timezone, "now", lambda seconds=seconds: begin + timedelta(seconds=seconds))
        clock.now = float(seconds)
        enter(text)
        noted.append((ApiToken.objects.get(pk=token.pk).last_used_at - begin).total_seconds())
    assert noted == [0, 0, 0, 61, 61]


@pytest.mark.parametrize("header", ["bearer {}", "BEARER {}"])
def test_the_scheme_is_written_as_one_likes(clock, header):
    _, text = ApiToken.issue("t", ["jobs:write"])
    assert Token("jobs.enqueue")(RequestFactory().get("/", headers={"Authorization": header.format(text)})) == "token:t"
