import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.private import pids


@pytest.fixture
def family() -> Iterator[subprocess.Popen[str]]:
    """A process in a session of its own with one child, as a killed launcher would leave it behind."""
    program = "import subprocess, sys; c = subprocess.Popen(['sleep', '60']); print(c.pid, flush=True); c.wait()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        yield parent
        parent.kill()


def child_of(parent: subprocess.Popen[str]) -> int:
    assert parent.stdout
    return int(parent.stdout.readline())


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while pid in pids.table():
        assert time.monotonic() < deadline, f"{pid} is still there"
        time.sleep(0.02)


def test_leftovers_are_ended_with_their_children(tmp_path: Path, family: subprocess.Popen[str]):
    child = child_of(family)
    pids.write_record(tmp_path / "worker.pid", family.pid, signal.SIGTERM)

    assert pids.end_leftovers(tmp_path) == ["worker"]

    assert family.wait(10) == -signal.SIGTERM
    wait_until_gone(child)
    assert list(tmp_path.iterdir()) == []


def test_children_are_ended_when_their_parent_is_gone_already(tmp_path: Path, family: subprocess.Popen[str]):
    child = child_of(family)
    pids.write_record(tmp_path / "worker.pid", family.pid, signal.SIGTERM)
    family.kill()
    family.wait()

    assert pids.end_leftovers(tmp_path) == ["worker"]

    wait_until_gone(child)


def test_a_frozen_leftover_is_ended_too(tmp_path: Path, family: subprocess.Popen[str]):
    child_of(family)
    pids.write_record(tmp_path / "worker.pid", family.pid, signal.SIGTERM)
    os.kill(family.pid, signal.SIGSTOP)

    pids.end_leftovers(tmp_path)

    assert family.wait(10) == -signal.SIGTERM


def test_one_that_ignores_the_signal_is_killed(tmp_path: Path):
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True) as stubborn:
        assert stubborn.stdout
        stubborn.stdout.readline()
        pids.write_record(tmp_path / "worker.pid", stubborn.pid, signal.SIGTERM)

        pids.end_leftovers(tmp_path, grace_seconds=0.2)

        assert stubborn.wait(10) == -signal.SIGKILL


def test_a_stranger_with_a_recycled_pid_is_left_alone(tmp_path: Path, family: subprocess.Popen[str]):
    record = pids.write_record(tmp_path / "worker.pid", family.pid, signal.SIGTERM)
    assert record
    earlier = {"pid": record.pid, "birth": f"1{record.birth}", "stop_signal": record.stop_signal}
    (tmp_path / "worker.pid").write_text(json.dumps(earlier))

    assert pids.end_leftovers(tmp_path) == []

    assert family.poll() is None
    assert list(tmp_path.iterdir()) == []


def test_whoever_bears_the_mark_is_found():
    mine = {**os.environ, "PRIVATE_RUN": "1234"}
    with (
        subprocess.Popen(["sleep", "60"], env=mine) as marked,
        subprocess.Popen(["sleep", "60"], env={**mine, "PRIVATE_RUN": "12345"}) as other,
    ):
        expected = [marked.pid] if Path("/proc").exists() else []
        assert pids.bearing("PRIVATE_RUN=1234") == expected
        marked.kill()
        other.kill()


def test_a_pid_file_cut_short_names_nobody(tmp_path: Path):
    (tmp_path / "worker.pid").write_text('{"pid": 1')

    assert pids.end_leftovers(tmp_path) == []


def test_a_process_that_has_ended_leaves_no_record(tmp_path: Path):
    with subprocess.Popen(["true"]) as ended:
        ended.wait()

        assert pids.write_record(tmp_path / "worker.pid", ended.pid, signal.SIGTERM) is None
    assert list(tmp_path.iterdir()) == []
