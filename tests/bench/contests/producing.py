"""`enqueue` and `batch`: one client process, from its first call until everything is as safe as promised."""

from abc import abstractmethod
from typing import ClassVar

from tests.bench import field
from tests.bench.contestants import WARM_UP
from tests.bench.contests.base import Contest
from tests.bench.field import Contestant
from tests.bench.figures import Sample, next_size
from tests.bench.stage import Called, Failed, Home, Stage

SECONDS, QUICK_SECONDS = 4.0, 2.0
CALL = 1000


class Producing(Contest):
    """No worker runs. Afterwards there must be as many messages and rows as calls."""

    trial: ClassVar[int]  # jobs of a run that only tells how many fill the time

    def __init__(self, stage: Stage, *, quick: bool):
        super().__init__(stage, quick=quick)
        self._seconds = QUICK_SECONDS if quick else SECONDS
        self._sizes: dict[str, int] = {}

    def measure(self, contestant: Contestant) -> Sample:
        if contestant.name not in self._sizes:
            self._run(contestant, self.trial)
        return self._run(contestant, self._sizes[contestant.name])

    def _run(self, contestant: Contestant, count: int) -> Sample:
        home = self.stage.home(contestant)
        home.clean()
        home.settle()
        called = self._call(home, contestant, count)
        _balance(home, contestant, count + WARM_UP)
        rate = count / called.seconds
        self._sizes[contestant.name] = next_size(rate, self._seconds, step=CALL)
        return Sample(count, called.seconds, {"rate": rate}, called.cpu_us(count))

    @abstractmethod
    def _call(self, home: Home, contestant: Contestant, count: int) -> Called: ...


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
    trial = 200

    def _call(self, home: Home, contestant: Contestant, count: int) -> Called:
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
    trial = CALL

    def _call(self, home: Home, contestant: Contestant, count: int) -> Called:
        return home.client(contestant, "batch", count, CALL)


def _balance(home: Home, contestant: Contestant, count: int) -> None:
    """Failed unless every job is in the queue and in the books."""
    books = contestant.books
    if books.queue:
        home.wait_for_depth(books.queue, count)
    found = {what: home.count(query) for what, query in books.sent.items()}
    if wrong := {what: number for what, number in found.items() if number != count}:
        raise Failed(f"the accounts do not balance: {count} jobs, {wrong}")
