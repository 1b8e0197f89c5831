"""What a run prints: one line a scenario as it ends, then a table, and how to see one again."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from tests.chaos.verdict import Evidence, Figures, Miss

HEADINGS = ("accepted", "ended", "redelivered", "duplicates suppressed", "effects repeated", "lost", "seconds")
MOST_MISSES = 6
MOST_EVENTS = 20


@dataclass(frozen=True)
class Played:
    """How one scenario went."""

    name: str
    figures: Figures
    misses: Sequence[Miss]
    evidence: Evidence | None
    seconds: float
    directory: Path

    @property
    def is_red(self) -> bool:
        return bool(self.misses)


def line(played: Played) -> str:
    values = (*astuple(played.figures), round(played.seconds))
    told = ", ".join(f"{value} {heading}" for value, heading in zip(values, HEADINGS, strict=True))
    return f"{played.name:<28} {'RED' if played.is_red else 'ok '}  {told}"


def misses(played: Played) -> str:
    """Every miss with its job's history, and which logs to read."""
    lines = []
    for miss in played.misses[:MOST_MISSES]:
        lines.append(f"    {miss.job_id or played.name}: {miss.what}")
        if played.evidence and miss.job_id in played.evidence.events:
            history = [f"{event.kind}#{event.attempt}" for event in played.evidence.events[miss.job_id]]
            if len(history) > MOST_EVENTS:
                history[MOST_EVENTS // 2 : -MOST_EVENTS // 2] = ["…"]
            lines.append(f"      {played.evidence.rows[miss.job_id].state}; history: {' '.join(history)}")
    if len(played.misses) > MOST_MISSES:
        lines.append(f"    and {len(played.misses) - MOST_MISSES} more")
    return "\n".join([*lines, f"    read {played.directory}/log/"])


def table(all_played: Sequence[Played]) -> str:
    rows = [
        (one.name, "RED" if one.is_red else "ok", *map(str, astuple(one.figures)), f"{one.seconds:.0f}")
        for one in all_played
    ]
    rows.insert(0, ("scenario", "", *HEADINGS))
    columns = range(len(rows[0]))
    widths = [max(len(row[column]) for row in rows) for column in columns]
    align = [str.ljust, str.ljust, *[str.rjust] * len(HEADINGS)]
    return "\n".join("  ".join(align[column](row[column], widths[column]) for column in columns) for row in rows)
