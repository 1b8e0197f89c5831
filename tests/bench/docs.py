"""docs/performance.md and its charts, written from the last full run and from nothing else."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench import report
from tests.bench.charts import Bar, bars
from tests.bench.contests import ALL
from tests.bench.record import Entry, Record

PAGE, IMAGES = Path("docs/performance.md"), Path("docs/images")
BLOCK = re.compile(r"(<!-- figures: (?P<name>[\w-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)

# (file, contest, figure, title, unit)
CHARTS = (
    ("drain", "drain", "rate", "Drain of a full queue", "jobs a second, more is better"),
    ("enqueue", "enqueue", "rate", "Single calls to enqueue", "jobs a second, more is better"),
    ("batch", "batch", "rate", "Batches of 1,000", "jobs a second, more is better"),
    ("latency", "latency", "p50_ms", "Enqueue to start, median", "milliseconds, less is better"),
    ("http", "http", "rate_64", "POST /api/v1/jobs at 64 connections", "requests a second, more is better"),
)


def write(run: Record, root: Path) -> list[Path]:
    """The files written. ValueError for a quick run, or one that left contests out."""
    if run.quick or run.contests.keys() != ALL.keys():
        raise ValueError("the docs are written from a full run of all contests")
    written = [root / PAGE]
    text = (root / PAGE).read_text()
    written[0].write_text(BLOCK.sub(lambda match: match[1] + block(run, match["name"]) + "\n" + match[3], text))
    for file, contest, figure, title, unit in CHARTS:
        written.append(root / IMAGES / f"bench-{file}.svg")
        written[-1].write_text(chart(run.entries(contest), figure, title, unit))
    return written


def block(run: Record, name: str) -> str:
    """What stands between the marks of that name."""
    if name == "run":
        when = datetime.fromisoformat(run.at)
        minutes = run.wall_seconds / 60
        return (
            f"The run of {when:%d %B %Y}: commit `{run.commit}`, {run.machine['cores']} cores, {minutes:.0f} minutes.\n"
        )
    if name == "targets":
        return _markdown(["work", "measured", "at least", "reach for", ""], [_target(row) for row in run.rows])
    return _contest(run, name)


def chart(entries: Sequence[Entry], figure: str, title: str, unit: str) -> str:
    """The bars of those that were measured, the longest first."""
    measured = [(one.name, one.median.figures[figure]) for one in entries if one.median]
    measured.sort(key=lambda pair: -pair[1])
    return bars(
        title, unit, [Bar(name, value, report.number(value), name.startswith("ours")) for name, value in measured]
    )


def _target(row: Mapping[str, Any]) -> list[str]:
    sign = "≤ " if row["less_is_better"] else ""
    verdict = (
        "not measured"
        if row["ratio"] is None
        else "reached"
        if row["reached"]
        else "met"
        if row["met"]
        else "**missed**"
    )
    ratio = "-" if row["ratio"] is None else report.number(row["ratio"])
    return [row["name"], ratio, sign + report.number(row["target"]), sign + report.number(row["reach"]), verdict]


def _contest(run: Record, name: str) -> str:
    entries = run.entries(name)
    figures = next((list(one.median.figures) for one in entries if one.median), [])
    parts = [part for part in report.PARTS if any(one.median and part in one.median.cpu_us for one in entries)]
    heading = [
        "",
        *map(report.heading, figures),
        *(f"{part} µs" for part in parts),
        "durable row",
        "confirmed",
        "redelivery",
    ]
    rows, notes = [], []
    for one in entries:
        sample = one.median
        values = [report.number(sample.figures[figure]) if sample else "error" for figure in figures]
        rows.append([one.name, *values, *(report.cpu(sample, part) for part in parts), *one.promises.values()])
        rounds = "a round has no figure" if sample else "no figure"
        reason = f"; {rounds}, because of {one.error.splitlines()[0]}" if one.error else ""
        notes.append(f"- {one.name}: {one.settings}{reason}")
    return f"{ALL[name].method}\n\n{_markdown(heading, rows)}\nSettings:\n\n" + "\n".join(notes) + "\n"


def _markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
