"""What must be reached, and what is reached for: ratios inside one run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench import field
from tests.bench.field import Contestant
from tests.bench.figures import Round, middle, ratios

FULL = field.ours_with(10_000_000)


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
            return sample.figures[self.figure] if sample else None
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


def _drain(against: Contestant, at_least: float, reach: float) -> Target:
    return Target(f"drain / {against.name}", "drain", field.OURS.name, against.name, at_least, reach)


def _latency(percentile: str) -> Target:
    against = field.CELERY_CONFIRMED.name
    name = f"enqueue to start, {percentile} / {against}"
    return Target(name, "latency", field.OURS.name, against, 1.2, 0.8, f"{percentile}_ms", less_is_better=True)


def _http(connections: int, at_least: float, reach: float) -> Target:
    name = f"POST /api/v1/jobs, {connections} connections / {field.WEB.name}"
    return Target(name, "http", field.OURS.name, field.WEB.name, at_least, reach, f"rate_{connections}")


TARGETS = (
    _drain(field.CELERY_RESULTS_KEPT, 5, 10),
    _drain(field.CELERY, 1, 2),
    _drain(field.DRAMATIQ_ROWS, 4, 8),
    _drain(field.DRAMATIQ_RESULTS, 0.8, 1.5),
    Target(f"single enqueue / {field.CELERY_ROW.name}", "enqueue", field.OURS.name, field.CELERY_ROW.name, 3, 5),
    Target(f"batch of 1,000 / {field.CELERY_ROW.name}", "batch", field.OURS.name, field.CELERY_ROW.name, 20, 30),
    _latency("p50"),
    _latency("p99"),
    _http(64, 2.5, 5),
    _http(1, 1.2, 2),
    Target("POST /api/v1/jobs/batch, jobs a second", "http-batch", field.OURS.name, "", 5_000, 20_000),
    # The first two rows share their numerator, and their denominators have no such table: one ratio tells both.
    Target("drain with a full table / with an empty one", "table", FULL.name, field.OURS.name, 0.9, 0.97),
)


def rows(played: Mapping[str, Sequence[Round]]) -> list[Row]:
    """The rows of every contest that was played."""
    return [Row(target, target.measured(played[target.contest])) for target in TARGETS if target.contest in played]


def contests() -> list[str]:
    """The names of the contests that have a target, in the order of the rows."""
    return list(dict.fromkeys(target.contest for target in TARGETS))
