"""`drain`: a full queue, the workers started, and the time from the first run to the last record."""

import time
from collections.abc import Sequence
from typing import ClassVar

from tests.bench import field
from tests.bench.contests.base import Contest
from tests.bench.field import Contestant
from tests.bench.figures import Sample, next_size
from tests.bench.stage import Failed, Home, Stage
from tests.bench.workers import wait_for, working


class Drain(Contest):
    """Each run takes about as long, whatever the contestant's speed: the last run's rate tells the next one's size."""

    name = "drain"
    title = "Drain of a full queue"
    method = (
        "The queue is filled, then the workers are started. The clock runs from the first job's first line to the "
        "moment when every job has run and is recorded as the contestant records; starting up does not count. Then the "
        "accounts must balance: as many runs, records and history lines as jobs, and an empty queue."
    )
    everybody: ClassVar[Sequence[Contestant]] = (
        field.OURS,
        field.OURS_THREADS,
        field.CELERY,
        field.CELERY_THREADS,
        field.CELERY_RESULTS,
        field.CELERY_RESULTS_KEPT,
        field.DRAMATIQ,
        field.DRAMATIQ_RESULTS,
        field.DRAMATIQ_ROWS,
        field.RQ,
        field.HUEY,
        field.TASKIQ,
        field.PROCRASTINATE,
        field.RAW,
        field.RAW_ROWS,
    )
    in_targets: ClassVar[Sequence[Contestant]] = (
        field.OURS,
        field.CELERY,
        field.CELERY_RESULTS_KEPT,
        field.DRAMATIQ_RESULTS,
        field.DRAMATIQ_ROWS,
    )

    quick_rounds = 2

    def __init__(self, stage: Stage, *, quick: bool):
        super().__init__(stage, quick=quick)
        self._seconds = 1.5 if quick else 5.0
        self._sizes: dict[str, int] = {}

    def measure(self, contestant: Contestant) -> Sample:
        home = self.stage.home(contestant)
        count = self._sizes.get(contestant.name, contestant.first_guess // (2 if self.quick else 1))
        sample = drain(home, contestant, count)
        self._sizes[contestant.name] = next_size(sample.figures["rate"], self._seconds)
        return sample


def drain(home: Home, contestant: Contestant, count: int) -> Sample:
    """Fill the queue with ``count`` jobs and have them done."""
    home.clean()
    home.client(contestant, "fill", count)
    if contestant.books.queue:
        home.wait_for_depth(contestant.books.queue, count)
    home.settle()
    return done_and_recorded(home, contestant, count)


def done_and_recorded(home: Home, contestant: Contestant, count: int) -> Sample:
    """The workers' time for the ``count`` jobs that wait."""
    marks = home.stage.marks
    with working(home, contestant) as workers:
        wait_for(lambda: len(marks) > 0, workers, lambda: "the first run")
        meter = home.stage.meter(**{f"worker {process.pid}": process.pid or 0 for process in workers})
        wait_for(lambda: len(marks) >= count, workers, lambda: f"{count} runs; there are {len(marks)}")
        end = marks.began()[-1]
        if contestant.books.done:
            wait_for(
                lambda: home.count(contestant.books.done) >= count,
                workers,
                lambda: f"{count} records; there are {home.count(contestant.books.done)}",
            )
            end = time.monotonic()
        used = meter.read()
    _balance(home, contestant, count)
    seconds = end - marks.began()[0]
    return Sample(count, seconds, {"rate": count / seconds}, _by_part(used, count))


def _balance(home: Home, contestant: Contestant, count: int) -> None:
    """Failed unless each job ran once, is recorded once, and has left the queue."""
    found = {"runs": len(home.stage.marks)}
    if contestant.books.done:
        found["records"] = home.count(contestant.books.done)
    found |= {what: home.count(query) for what, query in contestant.books.closed.items()}
    if wrong := {what: number for what, number in found.items() if number != count}:
        told = ", ".join(f"{number} {what}" for what, number in wrong.items())
        raise Failed(f"the accounts do not balance: {count} jobs, {told}")
    if contestant.books.queue and (left := home.depth(contestant.books.queue)):
        raise Failed(f"{left} messages are left in {contestant.books.queue}")


def _by_part(used: dict[str, float], count: int) -> dict[str, float]:
    """Microseconds per job; the workers' processes together."""
    parts: dict[str, float] = {}
    for name, seconds in used.items():
        part = name.split()[0]
        parts[part] = parts.get(part, 0.0) + seconds * 1e6 / count
    return parts
