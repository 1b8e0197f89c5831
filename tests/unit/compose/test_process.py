import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compose.private import pids
from compose.private.problems import Problem
from compose.private.process import Process, wait_until

Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a Python program as a process; it is ended with the test."""
    started = []

    def begin(program: str, *, grace_seconds: float = 10) -> Process:
        process = Process(
            "example",
            [sys.executable, "-u", "-c", program],
            directory=tmp_path,
            environment=dict(os.environ),
            cwd=tmp_path,
            grace_seconds=grace_seconds,
        )
        process.start()
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()


def until_it_speaks(process: Process) -> None:
    wait_until(lambda: process.log.exists() and bool(process.log.read_text()), process, seconds=10)


def test_what_it_prints_goes_to_its_log(start: Start):
    process = start("print('hello'); import time; time.sleep(60)")

    until_it_speaks(process)

    assert process.last_lines() == "hello"


def test_stop_asks_before_it_kills(start: Start, tmp_path: Path):
    process = start("import time; print(1); time.sleep(60)")
    until_it_speaks(process)

    process.stop()

    assert process.exit_code == -signal.SIGTERM
    assert list((tmp_path / "run").iterdir()) == []


def test_stop_kills_what_does_not_listen(start: Start):
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1); time.sleep(60)"
    process = start(ignore, grace_seconds=0.2)
    until_it_speaks(process)

    process.stop()

    assert process.exit_code == -signal.SIGKILL


def test_kill_takes_the_children_along(start: Start):
    process = start("import subprocess; c = subprocess.Popen(['sleep', '60']); print(c.pid); c.wait()")
    until_it_speaks(process)
    child = int(process.last_lines())

    process.kill()

    deadline = time.monotonic() + 10
    while child in pids.table() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert child not in pids.table()


def test_a_frozen_process_does_nothing_until_it_is_thawed(start: Start):
    process = start("import time\nwhile True: print('tick'); time.sleep(0.01)")
    until_it_speaks(process)

    process.freeze()
    time.sleep(0.1)  # the kernel delivers the signal when it next schedules the process
    ticks = process.log.stat().st_size
    time.sleep(0.1)
    assert process.log.stat().st_size == ticks

    process.thaw()
    wait_until(lambda: process.log.stat().st_size > ticks, process, seconds=10)


def test_a_killed_process_can_be_started_again(start: Start):
    process = start("import time; print(1); time.sleep(60)")
    first = process.pid

    process.kill()
    assert process.pid is None
    process.start()

    assert process.pid not in (None, first)


def test_a_death_while_starting_is_told_with_the_last_lines(start: Start):
    process = start("import sys; print('port in use'); sys.exit(3)")

    with pytest.raises(Problem, match=r"example ended with 3 while starting(.|\n)*port in use"):
        wait_until(lambda: False, process, seconds=10)


def test_one_that_never_gets_ready_is_told_too(start: Start):
    process = start("import time; print('still thinking'); time.sleep(60)")
    until_it_speaks(process)

    with pytest.raises(Problem, match=r"not ready after 0 s(.|\n)*still thinking"):
        wait_until(lambda: False, process, seconds=0.3)
