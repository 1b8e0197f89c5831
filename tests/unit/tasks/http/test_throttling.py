"""A token's requests of a minute, counted by many processes at little cost."""

import pytest
from django.core.cache import cache
from redis.exceptions import ConnectionError as RedisAway

from tasks.http import access, throttling
from tasks.http.access import RecentTokens
from tasks.http.throttling import RateLimiter
from tasks.models import ApiToken
from tests.unit.tasks.http.test_jobs import problem

pytestmark = pytest.mark.django_db


class Clock:
    now = 6_000.0  # where a minute begins

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    cache.clear()
    yield Clock()
    cache.clear()


@pytest.fixture
def limiter(clock, monkeypatch) -> RateLimiter:
    """The one that requests are counted by."""
    own = RateLimiter(clock)
    monkeypatch.setattr(throttling, "limiter", own)
    monkeypatch.setattr(access, "recent_tokens", RecentTokens())
    return own


def admitted(limiter: RateLimiter, limit: int, requests: int, token: int = 1) -> int:
    return sum(not limiter.spend(token, limit).is_spent for _ in range(requests))


@pytest.mark.parametrize("limit", [1, 7, 100, 150, 1000])
def test_one_process_lets_in_as_many_as_the_limit_says(clock, limit):
    assert admitted(RateLimiter(clock), limit, limit + 10) == limit


def test_the_next_minute_begins_anew(clock):
    limiter = RateLimiter(clock)
    assert admitted(limiter, 5, 9) == 5
    clock.now += 59
    assert admitted(limiter, 5, 1) == 0
    clock.now += 1
    assert admitted(limiter, 5, 9) == 5


def test_all_processes_together_let_in_no_more(clock):
    processes = [RateLimiter(clock) for _ in range(4)]
    found = sum(admitted(process, 1000, 10) for _ in range(50) for process in processes)
    assert found == 1000


def test_what_a_process_holds_back_is_at_most_a_portion(clock):
    idle, busy = RateLimiter(clock), RateLimiter(clock)
    assert admitted(idle, 1000, 1) == 1
    assert admitted(busy, 1000, 2000) == 990


def test_only_one_request_of_a_portion_asks_the_cache(clock, monkeypatch):
    asked = []
    incr = cache.incr
    monkeypatch.setattr(throttling.cache, "incr", lambda *given: asked.append(given) or incr(*given))
    limiter = RateLimiter(clock)
    admitted(limiter, 6000, 600)
    assert len(asked) == 10
    admitted(limiter, 6000, 9000)
    assert len(asked) == 100


def test_tokens_are_counted_apart(clock):
    limiter = RateLimiter(clock)
    assert (admitted(limiter, 3, 9, token=1), admitted(limiter, 3, 9, token=2)) == (3, 3)


def test_without_its_cache_a_process_counts_alone_and_asks_again_later(clock, monkeypatch):
    asked = []

    def away(*given, **options):
        asked.append(given)
        raise RedisAway("refused")

    limiter = RateLimiter(clock)
    with monkeypatch.context() as broken:
        broken.setattr(throttling.cache, "add", away)
        assert admitted(limiter, 100, 70) == 70
        assert len(asked) == 1
        clock.now += throttling.ALONE_SECONDS
        assert admitted(limiter, 100, 70) == 30
        assert len(asked) == 2


def test_tokens_take_no_more_room_than_their_limit(clock, monkeypatch):
    monkeypatch.setattr(throttling, "MOST_REMEMBERED", 2)
    limiter = RateLimiter(clock)
    assert [admitted(limiter, 1, 2, token=token) for token in (1, 2, 3, 1)] == [1, 1, 1, 0]
    assert len(limiter._counts) <= 2


def test_every_answer_tells_what_is_left(limiter, caller, settings, clock):
    settings.TASKS_API_RATE_PER_MINUTE = 50
    ann = caller("ann")
    clock.now += 18
    answers = [
        ann.get("/api/v1/tasks"),
        ann.get("/api/v1/jobs/7"),
        ann.get("/api/v1/audit"),
        ann.post("/api/v1/jobs", {}),
    ]
    assert [answer.get("RateLimit") for answer in answers] == ['"minute";r=49;t=42', None, None, '"minute";r=48;t=42']
    assert answers[0]["RateLimit-Policy"] == '"minute";q=50;w=60'


def test_who_has_spent_them_is_told_when_to_come_again(limiter, caller, settings, clock):
    settings.TASKS_API_RATE_PER_MINUTE = 2
    ann, bob = caller("ann"), caller("bob")
    clock.now += 20
    assert [ann.get("/api/v1/tasks").status_code for _ in range(3)] == [200, 200, 429]
    answer = ann.get("/api/v1/tasks")
    problem(answer, 429, "too-many-requests")
    assert (answer["Retry-After"], answer["RateLimit"]) == ("40", '"minute";r=0;t=40')
    assert bob.get("/api/v1/tasks").status_code == 200


def test_a_token_may_have_a_limit_of_its_own(limiter, caller, settings):
    settings.TASKS_API_RATE_PER_MINUTE = 2
    ann, bob = caller("ann"), caller("bob")
    ApiToken.objects.filter(pk=ann.token.pk).update(rate_per_minute=4)
    ApiToken.objects.filter(pk=bob.token.pk).update(rate_per_minute=0)
    assert [ann.get("/api/v1/tasks").status_code for _ in range(5)] == [200, 200, 200, 200, 429]
    free = [bob.get("/api/v1/tasks") for _ in range(9)]
    assert ({answer.status_code for answer in free}, "RateLimit" in free[0]) == ({200}, False)


def test_no_limit_counts_nothing(limiter, caller, settings):
    settings.TASKS_API_RATE_PER_MINUTE = 0
    assert "RateLimit" not in caller("ann").get("/api/v1/tasks")


def test_a_staff_session_is_not_counted(limiter, staff, settings):
    settings.TASKS_API_RATE_PER_MINUTE = 1
    client = staff("view_job")
    assert {client.get("/api/v1/tasks").status_code for _ in range(3)} == {200}
