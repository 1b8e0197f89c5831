"""What a child that is killed leaves behind."""

import logging
import os
import signal

import pytest

from tasks.worker import witness
from tasks.worker.witness import LINES, LastWords, Witness, _Handler


def child(words: LastWords, *lines: str) -> int:
    """Process id of a child that wrote ``lines`` and was killed with signal 9."""
    process_id = os.fork()
    if process_id == 0:
        words.begin("job.1")
        for line in lines:
            words.write(line)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(process_id, 0)
    return process_id


def test_the_last_lines_outlive_kill_9():
    words = LastWords()
    assert words.read(child(words, "first", "second"), "job.1") == ["first", "second"]


def test_only_the_last_of_many_lines_are_kept_each_whole():
    words = LastWords()
    lines = words.read(child(words, *(f"line {number} {'x' * 200}" for number in range(500))), "job.1")
    assert len(lines) == LINES
    assert [line.split()[1] for line in lines] == [str(number) for number in range(500 - LINES, 500)]


def test_a_line_longer_than_its_slot_is_cut():
    words = LastWords()
    (line,) = words.read(child(words, "y" * 100_000), "job.1")
    assert set(line) <= {"y"}


@pytest.mark.parametrize("text", ["tab\tNUL\0", "half a pair \ud800", "ünï"])
def test_odd_text_can_be_stored(text):
    words = LastWords()
    (line,) = words.read(child(words, text), "job.1")
    assert "\0" not in line
    line.encode()


def test_lines_of_another_attempt_are_not_given():
    words = LastWords()
    process_id = child(words, "of job.1")
    assert words.read(process_id, "job.2") == []
    assert words.read(process_id + witness.SLOTS, "job.1") == []


def test_a_child_that_has_not_begun_keeps_nothing_of_its_parent():
    words = LastWords()
    words.begin("parents.1")
    process_id = os.fork()
    if process_id == 0:
        words.write("before it began")
        os._exit(0)
    os.waitpid(process_id, 0)
    assert words.read(process_id, "parents.1") == []


def test_a_line_that_can_not_be_formatted_costs_nothing():
    _Handler(LastWords()).emit(logging.LogRecord("x", logging.INFO, "", 1, "%d", ("no number",), None))


def test_evidence_names_signal_memory_and_lines():
    sizes = iter([10, 30, 20])
    known = Witness(resident=lambda process_id: next(sizes))
    process_id = child(known.words, "so it ends")
    for _ in range(3):
        known.sample([("job.1", process_id)])
    found = known.testify("job.1", process_id, "Worker exited prematurely: signal 9 (SIGKILL) Job: 5.")
    assert found == {
        "signal": "SIGKILL", "peak_memory_bytes": 30, "process_id": process_id, "log": ["so it ends"]
    }  # fmt: skip


def test_the_kernels_memory_killer_is_named(monkeypatch):
    kills = iter([4, 5])
    monkeypatch.setattr(witness, "oom_kills", lambda: next(kills))
    found = Witness().testify("job.1", None, "signal 9 (SIGKILL)")
    assert found["kernel_out_of_memory_kills"] == 1


def test_an_exit_code_is_evidence_too():
    assert Witness().testify("job.1", None, "exitcode 1 Job: 0.") == {"exit_code": 1}


def test_what_runs_no_more_is_forgotten():
    known = Witness(resident=lambda process_id: 7)
    known.sample([("job.1", 1)])
    known.sample([])
    assert "peak_memory_bytes" not in known.testify("job.1", None, "")


def test_our_own_memory_can_be_read():
    assert (witness.resident_bytes(os.getpid()) or 0) > 1_000_000
    assert witness.resident_bytes(2**22 + 1) is None
