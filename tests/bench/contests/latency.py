"""`latency`: a steady trickle of 50 jobs a second, from the call that enqueues to the job's first line."""

from tests.bench import field
from tests.bench.contestants import WARM_UP
from tests.bench.contests.base import Contest
from tests.bench.field import Contestant
from tests.bench.figures import Sample, percentile
from tests.bench.workers import wait_for, working

A_SECOND = 50
SECONDS, QUICK_SECONDS = 10, 4


class Latency(Contest):
    name = "latency"
    title = "Enqueue to start at 50 jobs a second"
    method = (
        "Idle workers, one client that enqueues every 20 ms. Each job carries the moment before its call; the no-op "
        f"writes it beside the moment it began. The first {WARM_UP} jobs warm both sides up and do not count."
    )
    everybody = (field.OURS, field.CELERY_CONFIRMED, field.DRAMATIQ, field.HUEY, field.TASKIQ, field.PROCRASTINATE)
    in_targets = (field.OURS, field.CELERY_CONFIRMED)

    def measure(self, contestant: Contestant) -> Sample:
        home, marks = self.stage.home(contestant), self.stage.marks
        home.clean()
        home.client(contestant, "fill", 1)
        home.settle()
        count = A_SECOND * (QUICK_SECONDS if self.quick else SECONDS)
        with working(home, contestant) as workers:
            wait_for(lambda: len(marks) == 1, workers, lambda: "the first run")
            marks.clear()
            called = home.client(contestant, "stream", WARM_UP + count, A_SECOND)
            wait_for(lambda: len(marks) >= WARM_UP + count, workers, lambda: f"{count} runs; there are {len(marks)}")
        delays = [delay * 1000 for delay in marks.delays()[WARM_UP:]]
        figures = {"p50_ms": percentile(delays, 50), "p99_ms": percentile(delays, 99), "most_ms": max(delays)}
        return Sample(count, called.seconds, figures, called.cpu_us(WARM_UP + count))
