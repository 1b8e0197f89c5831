"""How fast a bulk replay goes: a few letters first, then more, and no more at all once too many have failed again.

Pure decisions on counts. The idea is that of the canary release (D. Sato, martinfowler.com, 2014): what may be broken
is tried on few.
"""

import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

STEPS = (1, 5, 25)
RATE_PER_SECOND = 10.0
STOP_RATIO = 0.2
FASTEST = 1000.0
MOST_STEPS = 20
CATCH_UP_SECONDS = 1.0


@dataclass(frozen=True)
class Pacing:
    """``steps`` letters go one step after the other, each once all outcomes of those before are known; then the rest at
    ``rate_per_second`` (None: as fast as it can). It stops once a larger part than ``stop_ratio`` (0 to 1; None: never)
    of the outcomes known so far is a failure.

    The part is looked at after each single outcome. So the first ones weigh much, and that is meant: with a limit of a
    fifth, a failure among the first five stops it.
    """

    steps: tuple[int, ...] = STEPS
    rate_per_second: float | None = RATE_PER_SECOND
    stop_ratio: float | None = STOP_RATIO

    def problems(self) -> list[dict[str, str]]:
        """What is wrong with it, as ``{"field", "message"}``."""
        problems = []
        counts = all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in self.steps)
        if not counts or len(self.steps) > MOST_STEPS:
            message = f"is a list of at most {MOST_STEPS} whole numbers from 1 up, like [1, 5, 25]"
            problems.append({"field": "steps", "message": message})
        if self.rate_per_second is not None and not 0 < self.rate_per_second <= FASTEST:
            message = f"is more than 0 and at most {FASTEST:,.0f} letters per second"
            problems.append({"field": "rate_per_second", "message": message})
        if self.stop_ratio is not None and not 0 <= self.stop_ratio <= 1:
            problems.append({"field": "stop_ratio", "message": "is a part from 0 to 1, like 0.2 for a fifth"})
        return problems

    def step_of(self, number: int) -> int:
        """The step, from 1, in which the letter sent as ``number``, from 1, goes; the rest counts as one more."""
        return 1 + sum(number > bound for bound in accumulate(self.steps))

    def room(self, sent: int, without_outcome: int, idle_seconds: float) -> int:
        """How many may be sent now, after ``sent`` of which ``without_outcome`` have none yet. ``idle_seconds`` have
        passed since ``credited`` said; it matters for the rest alone."""
        for bound in accumulate(self.steps, initial=0):
            if sent == bound and without_outcome:
                return 0  # the next step waits for this one
            if sent < bound:
                return bound - sent
        if self.rate_per_second is None:
            return sys.maxsize
        most = max(1.0, self.rate_per_second * CATCH_UP_SECONDS)
        return int(min(most, idle_seconds * self.rate_per_second))

    def credited(self, before: datetime, now: datetime, sent: int) -> datetime:
        """From when the next ``idle_seconds`` count, after ``sent`` went ``now``: what is left of a whole letter's time
        is not lost, and a long pause is not made up for."""
        if self.rate_per_second is None:
            return now
        earliest = now - timedelta(seconds=max(CATCH_UP_SECONDS, 1 / self.rate_per_second))
        return min(now, max(before, earliest) + timedelta(seconds=sent / self.rate_per_second))

    def exceeded(self, done: int, failed: int) -> bool:
        """Whether it stops, with ``done`` and ``failed`` outcomes known."""
        return self.stop_ratio is not None and failed > self.stop_ratio * (done + failed)


def verdict(step: int, done: int, failed: int) -> str:
    """Why it stopped."""
    return f"stopped at step {step}, {failed}/{done + failed} failed"
