"""Arithmetic on what was measured. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """One contestant in one round. ``figures``: by name, say rate (jobs a second) or p99_ms. ``cpu_us``: per job, by
    part: client, worker, broker, database, redis."""

    jobs: int
    seconds: float
    figures: Mapping[str, float]
    cpu_us: Mapping[str, float] = field(default_factory=dict)


Round = Mapping[str, Sample]
"""What was measured in one round, by the contestant's name."""


def ratios(rounds: Sequence[Round], ours: str, against: str, figure: str) -> list[float]:
    """Ours by theirs, for each round in which both were measured: a machine's good and bad minutes meet both."""
    both = [one for one in rounds if ours in one and against in one]
    return [one[ours].figures[figure] / one[against].figures[figure] for one in both]


def middle(rounds: Sequence[Round], name: str) -> Sample | None:
    """The median of each figure of one contestant; None when it was never measured."""
    samples = [one[name] for one in rounds if name in one]
    if not samples:
        return None
    return Sample(
        jobs=round(median(sample.jobs for sample in samples)),
        seconds=median(sample.seconds for sample in samples),
        figures=_medians([sample.figures for sample in samples]),
        cpu_us=_medians([sample.cpu_us for sample in samples]),
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest rank: a value that was measured, never one in between. ValueError for no values."""
    if not values:
        raise ValueError("no values")
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100).__floor__() - 1)]


def orders(names: Sequence[T], rounds: int) -> Iterator[list[T]]:
    """Everybody once a round, each round beginning one further along, every second one backwards: nobody always runs
    first, last or after the same neighbour."""
    for number in range(rounds):
        begin = number % len(names) if names else 0
        order = [*names[begin:], *names[:begin]]
        yield order[::-1] if number % 2 else order


def next_size(rate: float, seconds: float, *, step: int = 100, most: int = 100_000) -> int:
    """How many jobs fill the time at that rate, in whole steps and at least one."""
    return max(step, min(most, round(rate * seconds / step) * step))


def _medians(mappings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: median(one[key] for one in mappings if key in one) for key in mappings[0]}
