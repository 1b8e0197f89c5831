"""How many requests a token may make in a minute, and the headers that tell it (draft-ietf-httpapi-ratelimit-headers).

All processes share one count in Django's cache where that is Redis; without it each process counts for itself. A
process takes requests from the count in portions of a hundredth of the limit, so only one request in so many asks the
cache; what it has taken and does not use is lost to the others until the minute ends.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from ninja.errors import Throttled
from redis.exceptions import RedisError

from tasks.models import ApiToken

WINDOW_SECONDS = 60
PORTIONS = 100
ALONE_SECONDS = 5.0
MOST_REMEMBERED = 1000

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Quota:
    """What a token has left in this minute, ``reset_seconds`` before it ends."""

    limit: int
    remaining: int
    reset_seconds: int
    is_spent: bool


class _Count:
    """Of one token in one minute: what this process may still let in, and what is known to be taken by all."""

    __slots__ = ("left", "lock", "minute", "taken")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.minute = -1
        self.left = self.taken = 0


class RateLimiter:
    """Minutes are those of the clock, which hosts agree about well enough. ``clock`` tells seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time):
        self._clock = clock
        self._counts: dict[int, _Count] = {}
        self._alone_until = 0.0

    def spend(self, token: int, limit: int) -> Quota:
        """One request of the token with this id, whose limit, above 0, is in requests a minute."""
        now = self._clock()
        minute, second = divmod(int(now), WINDOW_SECONDS)
        count = self._counts.get(token)
        if count is None:
            if len(self._counts) >= MOST_REMEMBERED:
                self._counts.clear()  # what they have left is forgotten; what they have taken is not
            count = self._counts.setdefault(token, _Count())
        with count.lock:
            if count.minute != minute:
                count.minute, count.left, count.taken = minute, 0, 0
            if not count.left and count.taken < limit:
                self._take(count, token, limit, now)
            is_spent = not count.left
            if not is_spent:
                count.left -= 1
            remaining = count.left + max(0, limit - count.taken)
        return Quota(limit, remaining, WINDOW_SECONDS - second, is_spent)

    def _take(self, count: _Count, token: int, limit: int, now: float) -> None:
        portion = max(1, limit // PORTIONS)
        before = count.taken
        if now >= self._alone_until:
            try:
                before = self._add(f"tasks:rate:{token}:{count.minute}", portion) - portion
            except (RedisError, OSError) as error:
                # Nobody is refused, or kept waiting again and again, because the cache is away.
                self._alone_until = now + ALONE_SECONDS
                logger.warning("counting requests in this process alone: %s", error)
        count.taken = before + portion
        count.left = min(portion, max(0, limit - before))

    def _add(self, key: str, portion: int) -> int:
        cache.add(key, 0, timeout=2 * WINDOW_SECONDS)
        return cache.incr(key, portion)


limiter = RateLimiter()


def admit(request: HttpRequest, token: ApiToken) -> None:
    """Count the request against the token's limit. Raises ninja's Throttled when it is spent."""
    limit = settings.TASKS_API_RATE_PER_MINUTE if token.rate_per_minute is None else token.rate_per_minute
    if limit:
        quota = limiter.spend(token.pk, limit)
        request.quota = quota  # type: ignore[attr-defined]  # for RateLimitHeaders
        if quota.is_spent:
            raise Throttled(quota.reset_seconds)


class RateLimitHeaders:
    """Middleware that tells a token's holder what is left to them, in whatever answer they get."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        quota: Quota | None = getattr(request, "quota", None)
        if quota is not None:
            response["RateLimit-Policy"] = f'"minute";q={quota.limit};w={WINDOW_SECONDS}'
            response["RateLimit"] = f'"minute";r={quota.remaining};t={quota.reset_seconds}'
        return response
