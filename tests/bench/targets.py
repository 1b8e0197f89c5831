"""What must be reached, and what is reached for: ratios inside one run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench import field
from tests.bench.figures import Round, middle, ratios


@dataclass(frozen=True)
class Target:
    """One row. ``against`` nobody, the figure itself is the target."""

    name: str
    contest: str
    ours: str
    against: str
    at_least: float
    reach: float
    figure: str = "rate"
    less_is_better: bool = False  # then ``at_least`` is the most that is allowed

    def measured(self, rounds: Sequence[Round]) -> float | None:
        """The median over the rounds of the ratio within each; None when one of the two is missing in all of them."""
        if not self.against:
            sample = middle(rounds, self.ours)
            return sample and sample.figures[self.figure]
        found = ratios(rounds, self.ours, self.against, self.figure)
        return median(found) if found else None

    def is_met(self, value: float, wanted: float) -> bool:
        return value <= wanted if self.less_is_better else value >= wanted


@dataclass(frozen=True)
class Row:
    """A target and what came out of it; ``ratio`` is None where it could not be measured."""

    target: Target
    ratio: float | None

    @property
    def met(self) -> bool:
        return self.ratio is not None and self.target.is_met(self.ratio, self.target.at_least)

    @property
    def reached(self) -> bool:
        return self.ratio is not None and self.target.is_met(self.ratio, self.target.reach)


TARGETS = (
    Target(
        "drain / Celery + django-celery-results, kept", "drain", field.OURS.name, field.CELERY_RESULTS_KEPT.name, 5, 10
    ),
    Target("drain / plain Celery, prefork, prefetch 4", "drain", field.OURS.name, field.CELERY.name, 1, 2),
    Target("drain / Dramatiq with a Django row per job", "drain", field.OURS.name, field.DRAMATIQ_ROWS.name, 4, 8),
    Target("drain / Dramatiq with Redis results", "drain", field.OURS.name, field.DRAMATIQ_RESULTS.name, 0.8, 1.5),
)


def rows(played: Mapping[str, Sequence[Round]]) -> list[Row]:
    """The rows of every contest that was played."""
    return [Row(target, target.measured(played[target.contest])) for target in TARGETS if target.contest in played]
