import os
from pathlib import Path

import pytest

from tests.bench import work
from tests.bench.meter import Meter, family
from tests.bench.work import Marks


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Marks:
    monkeypatch.setenv("BENCH_MARKS", str(tmp_path / "marks"))
    monkeypatch.setattr(work, "_file", None)
    return Marks(tmp_path / "marks")


def test_each_run_leaves_a_mark_that_tells_when_it_was_sent(marks: Marks):
    for sent in (1.0, 2.0):
        work.run(work.payload(sent))

    assert len(marks) == 2
    first, second = marks.began()
    assert first <= second
    assert marks.delays() == pytest.approx([first - 1.0, second - 2.0])


def test_marks_of_an_earlier_run_can_be_cleared(marks: Marks):
    work.run(work.payload())
    marks.clear()
    work.run(work.payload())

    assert len(marks) == 1


def test_a_meter_counts_from_its_making_and_knows_nothing_of_the_dead():
    meter = Meter({"client": os.getpid(), "gone": 2**22 + 1})
    while meter.read()["client"] < 0.05:
        sum(range(10_000))

    assert meter.read()["gone"] == 0


def test_a_family_begins_with_its_head():
    assert family(os.getpid())[0] == os.getpid()
