"""Horizontal bars as SVG, readable on light and dark pages, with no library and no script. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, NAMES, NUMBERS = 790, 330, 90  # in px: the chart, its left column, the room right of the longest bar
LINE, BAR, TOP, BOTTOM = 30, 18, 64, 14

# The page decides: a chart has no background of its own, and its ink follows the reader's colour scheme.
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2937 }
.title { font-size: 16px; font-weight: 600 }
.quiet, .peer-number { fill: #6b7280 }
.ours { fill: #2563eb }
.peer { fill: #9ca3af }
.our-name { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #e5e7eb }
  .quiet, .peer-number { fill: #9ca3af }
  .ours { fill: #60a5fa }
  .peer { fill: #6b7280 }
}
"""


@dataclass(frozen=True)
class Bar:
    name: str
    value: float
    label: str
    is_ours: bool


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """The SVG of ``rows`` from top to bottom; the longest bar fills the width. ValueError for none."""
    if not rows:
        raise ValueError(f"no bars for {title!r}")
    most = max(row.value for row in rows) or 1.0
    room = WIDTH - NAMES - NUMBERS
    height = TOP + LINE * len(rows) + BOTTOM
    told = "; ".join(f"{row.name} {row.label}" for row in rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-labelledby="title description">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(f"{unit}: {told}")}</desc>',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="0" y="20">{escape(title)}</text>',
        f'<text class="quiet" x="0" y="42">{escape(unit)}</text>',
    ]
    for number, row in enumerate(rows):
        top = TOP + LINE * number
        side, length = ("ours" if row.is_ours else "peer"), max(2.0, room * row.value / most)
        name, figure = ("our-name", "our-name") if row.is_ours else ("quiet", "peer-number")
        lines += [
            f'<text class="{name}" x="{NAMES - 12}" y="{top + 14}" text-anchor="end">{escape(row.name)}</text>',
            f'<rect class="{side}" x="{NAMES}" y="{top}" width="{length:.1f}" height="{BAR}" rx="3"/>',
            f'<text class="{figure}" x="{NAMES + length + 8:.1f}" y="{top + 14}">{escape(row.label)}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
