"""Which way the page lies, how large its text is and how wide the columns are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from reportlab.lib.pagesizes import A4, landscape

from reports.renderers.display import display
from reports.renderers.typesetting import BOLD, REGULAR, one_line, width
from reports.table import Column, Row

MARGIN = 42.0

TEXT_SIZE = 8.0
SMALLEST_TEXT_SIZE = 5.5
MAX_TEXT_WIDTH = 240.0
MIN_TEXT_WIDTH = 60.0


@dataclass(frozen=True)
class Layout:
    """All measures in points. ``padding`` stands left and right in each cell; ``widths`` include it."""

    page_width: float
    page_height: float
    text_size: float
    widths: Sequence[float]

    @property
    def content_width(self) -> float:
        return self.page_width - 2 * MARGIN

    @property
    def padding(self) -> float:
        return 0.75 * self.text_size

    @property
    def leading(self) -> float:
        return 1.3 * self.text_size

    @property
    def row_height(self) -> float:
        return 2 * self.text_size

    @property
    def head_height(self) -> float:
        return 2.5 * self.text_size

    @classmethod
    def fitting(cls, columns: Sequence[Column], sample: Sequence[Row]) -> Self:
        """A table that is too wide is turned, then set smaller; then its texts wrap, and at last its numbers shrink."""
        wanted = _wanted_widths(columns, sample)
        page_width, page_height = A4 if sum(wanted) <= A4[0] - 2 * MARGIN else landscape(A4)
        available = page_width - 2 * MARGIN
        scale = min(1.0, max(available / sum(wanted), SMALLEST_TEXT_SIZE / TEXT_SIZE))
        widths = column_widths(columns, [scale * size for size in wanted], available)
        return cls(page_width, page_height, scale * TEXT_SIZE, widths)


def column_widths(columns: Sequence[Column], wanted: Sequence[float], available: float) -> list[float]:
    """``wanted`` made to fill ``available`` points: texts grow first and give first; past that, all give alike."""
    spare = available - sum(wanted)
    if spare >= 0:
        growing = [column.kind == "text" for column in columns]
        shares = [size if grows or not any(growing) else 0.0 for size, grows in zip(wanted, growing, strict=True)]
        return [size + spare * share / sum(shares) for size, share in zip(wanted, shares, strict=True)]
    slack = [
        max(size - MIN_TEXT_WIDTH, 0.0) if column.kind == "text" else 0.0
        for size, column in zip(wanted, columns, strict=True)
    ]
    given = min(1.0, -spare / sum(slack)) if any(slack) else 0.0
    narrowed = [size - given * room for size, room in zip(wanted, slack, strict=True)]
    scale = min(1.0, available / sum(narrowed))
    return [size * scale for size in narrowed]


def _wanted_widths(columns: Sequence[Column], sample: Sequence[Row]) -> list[float]:
    """What each column needs for its heading and the sampled cells on one line; texts within reason."""
    widths = []
    for index, column in enumerate(columns):
        needed = max([_width(column.heading, BOLD)] + [_width(display(row[index], column.kind)) for row in sample])
        if column.total:
            numbers = [row[index] for row in sample]
            total = sum(float(number) for number in numbers if isinstance(number, (int, float)))
            needed = max(needed, _width(display(total, column.kind), BOLD))
        widths.append((needed if column.is_number else min(needed, MAX_TEXT_WIDTH)) + 1.5 * TEXT_SIZE)
    return widths


def _width(text: str, name: str = REGULAR) -> float:
    return width(one_line(text, name), name, TEXT_SIZE)
