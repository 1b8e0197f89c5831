"""`memory`: what a worker holds, idle and under load, and whether it grows over 200,000 jobs. Ours alone."""

import subprocess
import time
from functools import partial

from compose.private import ROOT
from compose.private.process import Process
from tests.bench import field
from tests.bench.contests.base import Contest
from tests.bench.field import Contestant
from tests.bench.figures import Sample
from tests.bench.meter import family, resident_mebibytes
from tests.bench.work import Marks
from tests.bench.workers import wait_for, working

JOBS, QUICK_JOBS, WARM_UP = 200_000, 5_000, 2_000
IMPORT = "import django; django.setup(); from project import celery_app; celery_app.finalize(); celery_app.tasks"


class Memory(Contest):
    name = "memory"
    title = "Memory of a worker"
    method = (
        "Resident size of the main process and of the largest child: idle, after the first 5,000 jobs, the most seen "
        "while 200,000 jobs were done, and how much larger after them than after the first 5,000. Import: a fresh "
        "Python process that sets the platform up; a forked child inherits that. Start: from the command to its first "
        "job."
    )
    everybody = (field.OURS, field.OURS_THREADS)
    in_targets = (field.OURS,)
    rounds = 1

    def measure(self, contestant: Contestant) -> Sample:
        home, marks, count = self.stage.home(contestant), self.stage.marks, QUICK_JOBS if self.quick else JOBS
        home.clean()
        home.client(contestant, "fill", 1)
        home.settle()
        begin = time.monotonic()
        with working(home, contestant) as workers:
            wait_for(lambda: len(marks) > 0, workers, lambda: "the first run")
            figures = {"start_s": marks.began()[0] - begin, "import_s": self._import_seconds(contestant)}
            idle = _resident(workers[0])
            home.client(contestant, "fill", WARM_UP)
            wait_for(lambda: len(marks) > WARM_UP, workers, lambda: f"{WARM_UP} runs; there are {len(marks)}")
            warm = most = _resident(workers[0])
            begin = time.monotonic()
            home.client(contestant, "fill", count)
            while (seen := len(marks)) <= WARM_UP + count:
                most = _larger(most, _resident(workers[0]))
                wait_for(partial(_went_on, marks, seen), workers, lambda: "another run")
                time.sleep(0.5)
            seconds, after = time.monotonic() - begin, _resident(workers[0])
        for number, part in enumerate(("main", "child")):
            figures |= {f"{part}_idle_mb": idle[number], f"{part}_most_mb": most[number]}
            figures[f"{part}_growth_mb"] = after[number] - warm[number]
        return Sample(count, seconds, figures)

    def _import_seconds(self, contestant: Contestant) -> float:
        environment = self.stage.home(contestant).environment(contestant)
        begin = time.monotonic()
        subprocess.run([contestant.programs / "python", "-c", IMPORT], cwd=ROOT, env=environment, check=True)
        return time.monotonic() - begin


def _went_on(marks: Marks, seen: int) -> bool:
    return len(marks) > seen


def _larger(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return max(one[0], other[0]), max(one[1], other[1])


def _resident(worker: Process) -> tuple[float, float]:
    """Of the main process, and of its largest child; 0 where it has none."""
    main, *children = family(worker.pid or 0)
    return resident_mebibytes(main), max(map(resident_mebibytes, children), default=0.0)
