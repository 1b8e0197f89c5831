"""A contestant's workers: started, watched while we wait for them, gone afterwards."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from compose.private import signals
from compose.private.process import Process
from tests.bench.field import Contestant
from tests.bench.stage import Failed, Home

LONGEST_SECONDS = 180
LOOK_SECONDS = 0.02


@contextmanager
def working(home: Home, contestant: Contestant) -> Iterator[Sequence[Process]]:
    """They run for the length of a ``with`` block; whether they are ready yet, the first run tells."""
    workers = [
        home.process(contestant, command, f"{contestant.module}-worker-{number}")
        for number, command in enumerate(contestant.workers)
    ]
    try:
        for process in workers:
            process.start()
        yield workers
    finally:
        for process in workers:
            process.ask_to_stop()
        for process in workers:
            process.stop()


def wait_for(condition: Callable[[], bool], workers: Sequence[Process], what: Callable[[], str]) -> None:
    """Failed when time is up or a worker is gone, with the end of its log."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while not condition():
        signals.check()
        gone = [process for process in workers if not process.is_alive()]
        if gone or time.monotonic() > deadline:
            why = f"a worker ended with {gone[0].exit_code}" if gone else f"waited {LONGEST_SECONDS} s"
            raise Failed(f"{why} before {what()}:\n{(gone or workers)[0].last_lines(8)}")
        time.sleep(LOOK_SECONDS)
