"""When a failed job runs again: pure functions of (attempt, error)."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from tasks.errors import PermanentError, RetryLater

LONGEST_WISH_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """When a failed job runs again. Attempts count from 1: max_attempts=4 is one run and three retries.

    ``permanent`` lists exception types that no retry can mend; PermanentError always is one.
    """

    max_attempts: int = 5
    base_seconds: float = 2.0
    cap_seconds: float = 600.0
    permanent: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts counts the first run, so it is at least 1; got {self.max_attempts}")
        if self.base_seconds < 0 or self.cap_seconds < 0:
            raise ValueError("base_seconds and cap_seconds are waits, so neither is below 0")

    def delay_seconds(self, attempt: int, *, jitter: Callable[[float, float], float] = random.uniform) -> float | None:
        """Seconds to wait after ``attempt`` failed; None when no attempt is left. ValueError when attempt < 1.

        ``jitter(low, high)`` picks from [0, min(cap, base * 2 ** (attempt - 1))], called "full jitter".
        Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        if attempt < 1:
            raise ValueError(f"attempt counts from 1, got {attempt}")
        if attempt >= self.max_attempts:
            return None
        exponent = min(attempt - 1, 32)  # 2 ** 1024 no longer fits a float; the cap wins long before
        return jitter(0.0, min(self.cap_seconds, self.base_seconds * 2**exponent))

    def decide(
        self, attempt: int, error: BaseException, *, jitter: Callable[[float, float], float] = random.uniform
    ) -> float | None:
        """Seconds until the next attempt after ``attempt`` ended in ``error``; None to bury the job.

        A RetryLater with a delay of its own is obeyed as long as an attempt is left, up to 30 days.
        """
        if isinstance(error, (PermanentError, *self.permanent)):
            return None
        delay = self.delay_seconds(attempt, jitter=jitter)
        if delay is None or not isinstance(error, RetryLater) or error.delay_seconds is None:
            return delay
        wish = error.delay_seconds  # often what the other side said, so anything at all
        return delay if math.isnan(wish) else min(max(0.0, wish), LONGEST_WISH_SECONDS)
