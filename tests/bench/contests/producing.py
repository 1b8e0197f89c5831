"""`enqueue` and `batch`: one client process, from its first call until everything is as safe as promised."""

from abc import abstractmethod

from tests.bench import field
from tests.bench.contestants import WARM_UP
from tests.bench.contests.base import Contest
from tests.bench.field import Contestant
from tests.bench.figures import Sample, next_size
from tests.bench.stage import Failed, Home, Stage

SECONDS, QUICK_SECONDS = 4.0, 2.0
CALL = 1000


class Producing(Contest):
    """No worker runs. Afterwards there must be as many messages and rows as calls."""

    def __init__(self, stage: Stage, *, quick: bool):
        super().__init__(stage, quick=quick)
        self._sizes: dict[str, int] = {}

    def measure(self, contestant: Contestant) -> Sample:
        home = self.stage.home(contestant)
        home.clean()
        home.settle()
        count = self._sizes.get(contestant.name, CALL)
        measured = self._call(home, contestant, count)
        _balance(home, contestant, count + WARM_UP)
        rate = count / measured["seconds"]
        seconds = QUICK_SECONDS if self.quick else SECONDS
        self._sizes[contestant.name] = next_size(rate, seconds, step=CALL)
        cpu_us = {part: seconds * 1e6 / count for part, seconds in measured["cpu"].items()}
        return Sample(count, measured["seconds"], {"rate": rate}, cpu_us)

    @abstractmethod
    def _call(self, home: Home, contestant: Contestant, count: int) -> dict: ...


class Enqueue(Producing):
    name = "enqueue"
    title = "Single calls to enqueue"
    method = (
        "One process enqueues in a loop. Each call returns when its row is committed (where there is one); the clock "
        "stops when the broker has confirmed every message (where there are confirms), also for those who let a call "
        "return before."
    )
    everybody = (
        field.OURS,
        field.CELERY_ROW,
        field.CELERY_CONFIRMED,
        field.CELERY_UNCONFIRMED,
        field.DRAMATIQ,
        field.DRAMATIQ_ROWS,
        field.RQ,
        field.HUEY,
        field.TASKIQ,
        field.PROCRASTINATE,
    )
    in_targets = (field.OURS, field.CELERY_ROW)

    def _call(self, home: Home, contestant: Contestant, count: int) -> dict:
        return home.client(contestant, "single", count)


class Batch(Producing):
    name = "batch"
    title = "Batches of 1,000"
    method = (
        "One process enqueues 1,000 jobs at a time. The clock stops when all rows are committed and the broker has "
        "confirmed every message."
    )
    everybody = (field.OURS, field.CELERY_ROW, field.CELERY_ROWS, field.RQ, field.TASKIQ, field.PROCRASTINATE)
    in_targets = (field.OURS, field.CELERY_ROW)

    def _call(self, home: Home, contestant: Contestant, count: int) -> dict:
        return home.client(contestant, "batch", count, CALL)


def _balance(home: Home, contestant: Contestant, count: int) -> None:
    """Failed unless every job is in the queue and in the books."""
    books = contestant.books
    if books.queue:
        home.wait_for_depth(books.queue, count)
    found = {what: home.count(query) for what, query in books.sent.items()}
    if wrong := {what: number for what, number in found.items() if number != count}:
        raise Failed(f"the accounts do not balance: {count} jobs, {wrong}")
