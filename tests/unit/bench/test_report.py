import json
import xml.etree.ElementTree as xml
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from compose.private import ROOT
from tests.bench import docs, record, report
from tests.bench.charts import Bar, bars
from tests.bench.contests import ALL, Drain
from tests.bench.figures import Sample
from tests.bench.record import Record
from tests.bench.rounds import Played
from tests.bench.targets import rows


def played(name: str) -> Played:
    """A contest in which everybody was measured but the last, who failed."""
    contest = ALL[name]
    *measured, failed = contest.everybody if len(contest.everybody) > 1 else (*contest.everybody, Drain.everybody[-1])
    figures = {"rate": 1234.5, "rate_64": 900.0, "rate_1": 90.0, "p50_ms": 2.5, "p99_ms": 12.25}
    sample = Sample(1000, 2.0, figures, {"worker": 321.0, "broker": 12.0})
    done = Played(contest.__new__(contest), [*measured, failed])
    done.rounds = [{one.name: sample for one in measured}] * 3
    done.errors = {failed.name: "Failed: the accounts do not balance"}
    return done


@pytest.fixture
def run() -> Record:
    done = [played(name) for name in ALL]
    found = rows({one.contest.name: one.rounds for one in done})
    return record.record(done, found, quick=False, wall_seconds=1800)


def test_a_contest_s_table_tells_rates_promises_settings_and_the_reason_of_an_error(run: Record):
    text = report.contest(run.entries("drain"))

    assert "1,234" in text
    assert "job, attempts and history" in text
    assert "-c 2, prefetch 4, acks_late, results ignored" in text
    assert "ERROR  raw py-amqp + grouped commits: Failed: the accounts do not balance" in text


def test_the_targets_tell_met_missed_and_not_measured(run: Record):
    told = [{**run.rows[0], "ratio": ratio, "met": met, "reached": reached} for ratio, met, reached in
            ((5.0, True, False), (9.0, True, True), (0.5, False, False), (None, False, False))]  # fmt: skip
    lines = report.targets(replace(run, rows=told)).splitlines()[1:]

    assert [line.split("  ")[-1].strip() for line in lines] == ["met", "reached", "MISSED", "not measured"]


def test_columns_are_as_wide_as_their_widest_cell_and_numbers_stand_to_the_right():
    assert (
        report.table([["", "rate"], ["a long name", "7"]], numbers=range(1, 2))
        == "             rate\na long name     7"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (-0.5, "-0.50"), (0, "0.00")],
)
def test_a_number_has_three_digits_that_count(value: float, text: str):
    assert report.number(value) == text


@pytest.mark.parametrize(("figure", "text"), [("rate", "rate"), ("rate_64", "rate at 64"), ("p99_ms", "p99 ms")])
def test_a_figure_s_name_is_readable(figure: str, text: str):
    assert report.heading(figure) == text


def test_a_run_is_read_back_as_it_was_written(run: Record, tmp_path: Path):
    record.write(run, tmp_path / "latest.json")

    assert asdict(record.read(tmp_path / "latest.json")) == asdict(run)
    assert record.read(tmp_path / "latest.json").entries("drain") == run.entries("drain")


def test_latest_json_has_the_name_ratio_target_and_met_of_each_row(run: Record, tmp_path: Path):
    record.write(run, tmp_path / "latest.json")
    written = json.loads((tmp_path / "latest.json").read_text())

    assert {"name", "ratio", "target", "reach", "met", "reached"} <= written["rows"][0].keys()
    assert written["contests"]["drain"]["rounds"][0]["ours, prefork"]["figures"]["rate"] == 1234.5


def test_a_chart_is_an_image_that_reads_aloud_and_in_the_dark():
    svg = bars("Drain", "jobs a second", [Bar("ours", 20, "20", True), Bar("a <peer>", 10, "10", False)])
    root = xml.fromstring(svg)
    space = {"svg": "http://www.w3.org/2000/svg"}

    longer, shorter = (float(bar.attrib["width"]) for bar in root.findall("svg:rect", space))
    assert longer == pytest.approx(2 * shorter, rel=0.01)
    assert "a <peer> 10" in (root.findtext("svg:desc", "", space))
    assert "prefers-color-scheme: dark" in svg


def test_a_chart_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no bars"):
        bars("Drain", "jobs a second", [])


def test_a_full_run_writes_the_page_and_every_image_it_shows(run: Record, tmp_path: Path):
    (tmp_path / "docs/images").mkdir(parents=True)
    (tmp_path / docs.PAGE).write_text((ROOT / docs.PAGE).read_text())
    written = docs.write(run, tmp_path)
    page = written[0].read_text()

    assert "No full run" not in page
    assert all(f"| {row['name']} |" in page for row in run.rows)
    assert all(ALL[name].method in page for name in ALL)
    assert all(f"(images/{image.name})" in page for image in written[1:])
    docs.write(run, tmp_path)
    assert written[0].read_text() == page  # the marks are still there


@pytest.mark.parametrize("change", [{"quick": True}, {"contests": {}}], ids=["quick", "incomplete"])
def test_the_page_is_of_full_runs_alone(run: Record, tmp_path: Path, change: dict):
    with pytest.raises(ValueError, match="full run"):
        docs.write(replace(run, **change), tmp_path)


def test_a_missed_target_is_shown_as_missed(run: Record):
    missed = {**run.rows[0], "ratio": 0.2, "met": False, "reached": False}

    assert "**missed**" in docs.block(replace(run, rows=[missed]), "targets")
