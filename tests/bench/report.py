"""What a run prints: a table for each contest, and one of the targets. Pure."""

from collections.abc import Sequence

from tests.bench.figures import Sample
from tests.bench.record import Entry, Record

PARTS = ("client", "worker", "web", "broker", "database", "redis")
NONE = "-"


def contest(entries: Sequence[Entry]) -> str:
    """The medians with what each promises; below, the settings and the reason of each error."""
    figures = next((list(one.median.figures) for one in entries if one.median), [])
    parts = [part for part in PARTS if any(one.median and part in one.median.cpu_us for one in entries)]
    rows = [["", *map(heading, figures), *(f"{part} us" for part in parts), "durable row", "confirmed", "redelivery"]]
    for one in entries:
        values = [number(one.median.figures[figure]) for figure in figures] if one.median else ["ERROR"] * len(figures)
        rows.append([one.name, *values, *(cpu(one.median, part) for part in parts), *one.promises.values()])
    width = max((len(one.name) for one in entries), default=0)
    settings = "\n".join(f"{one.name.ljust(width)}  {one.settings}" for one in entries)
    errors = [f"ERROR  {one.name}: {one.error}" for one in entries if one.error]
    return "\n".join([table(rows, numbers=range(1, 1 + len(figures) + len(parts))), "", settings, *errors])


def targets(run: Record) -> str:
    """Every row, and whether it was met."""
    lines = [["target", "measured", "at least", "reach for", "", ""]]
    for row in run.rows:
        measured = NONE if row["ratio"] is None else number(row["ratio"])
        verdict = "reached" if row["reached"] else "met" if row["met"] else "MISSED"
        bound = "(at most)" if row["less_is_better"] else ""
        told = "not measured" if row["ratio"] is None else verdict
        lines.append([row["name"], measured, number(row["target"]), number(row["reach"]), bound, told])
    return table(lines, numbers=range(1, 4))


def summary(run: Record) -> str:
    """How many targets were met, which form it was and how long it took."""
    met, reached = (sum(row[key] for row in run.rows) for key in ("met", "reached"))
    form = "the quick form: fewer rounds of fewer jobs, so read it as a hint" if run.quick else "the full form"
    return f"{met} of {len(run.rows)} targets met, {reached} reached for; {form}; {run.wall_seconds:.0f} s"


def sample(measured: Sample) -> str:
    """The figures of one run in a line."""
    told = "  ".join(f"{heading(figure)} {number(value)}" for figure, value in measured.figures.items())
    return f"{told}  ({measured.jobs:,} jobs in {measured.seconds:.1f} s)"


def table(rows: Sequence[Sequence[str]], *, numbers: range) -> str:
    """Columns as wide as their widest cell; those of ``numbers`` to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = zip(row, widths, strict=True)
        aligned = [cell.rjust(width) if n in numbers else cell.ljust(width) for n, (cell, width) in enumerate(cells)]
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines)


def heading(figure: str) -> str:
    """``rate_64`` as "rate at 64", ``p99_ms`` as "p99 ms"."""
    first, _, last = figure.rpartition("_")
    return f"{first.replace('_', ' ')} at {last}" if last.isdigit() else figure.replace("_", " ")


def number(value: float) -> str:
    """Three digits that count, and no more."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def cpu(measured: Sample | None, part: str) -> str:
    """Microseconds of CPU per job."""
    return NONE if measured is None or part not in measured.cpu_us else f"{measured.cpu_us[part]:,.0f}"
