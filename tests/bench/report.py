"""What a run prints: a table for each contest, and one of the targets."""

from collections.abc import Sequence

from tests.bench.figures import Sample, middle
from tests.bench.rounds import Played
from tests.bench.targets import Row

PARTS = ("client", "worker", "broker", "database", "redis")
NONE = "-"


def contest(played: Played) -> str:
    """The medians, the best first, with what each promises and its settings."""
    found = {one.name: middle(played.rounds, one.name) for one in played.entries}
    figures = next((list(sample.figures) for sample in found.values() if sample), [])
    rows = [["", *figures, *(f"{part} us" for part in PARTS), "durable row", "confirmed", "redelivery", "settings"]]
    for one in played.entries:
        sample = found[one.name]
        values = [_number(sample.figures[figure]) for figure in figures] if sample else ["ERROR"] * len(figures)
        cpu = [_cpu(sample, part) for part in PARTS]
        promises = one.promises
        rows.append([one.name, *values, *cpu, promises.row, promises.confirmed, promises.redelivery, one.settings])
    text = 1 + len(figures) + len(PARTS)
    errors = [f"ERROR  {name}: {reason}" for name, reason in played.errors.items()]
    return "\n".join([table(rows, numbers=range(1, text)), *errors])


def targets(rows: Sequence[Row]) -> str:
    lines = [["target", "measured", "at least", "reach", "", ""]]
    for row in rows:
        target, measured = row.target, NONE if row.ratio is None else _number(row.ratio)
        verdict = "not measured" if row.ratio is None else "reached" if row.reached else "met" if row.met else "MISSED"
        bound = "at most" if target.less_is_better else ""
        lines.append([target.name, measured, _number(target.at_least), _number(target.reach), bound, verdict])
    return table(lines, numbers=range(1, 4))


def table(rows: Sequence[Sequence[str]], *, numbers: range) -> str:
    """Columns as wide as their widest cell; those of ``numbers`` to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) if n in numbers else cell.ljust(width) for n, (cell, width) in
                 enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _number(value: float) -> str:
    """Three digits that count, and no more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cpu(sample: Sample | None, part: str) -> str:
    return NONE if sample is None or part not in sample.cpu_us else f"{sample.cpu_us[part]:,.0f}"
