"""Table: typed columns plus an iterator of rows, the one shape all renderers take."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

Kind = Literal["text", "integer", "decimal", "date", "datetime", "duration"]
Cell = str | int | float | Decimal | date | datetime | None
Row = Sequence[Cell]
Tone = Literal["good", "bad", "open", "quiet"]

UNKNOWN = "–"  # noqa: RUF001  an en dash: an empty cell looks like a mistake, and 0 would be a lie


@dataclass(frozen=True, kw_only=True)
class Column:
    """``name`` is for machines (CSV), ``heading`` for people (PDF). A duration is a number of seconds, a datetime is
    aware. ``total`` asks for the column's sum under the table."""

    name: str
    heading: str
    kind: Kind = "text"
    total: bool = False

    @property
    def is_number(self) -> bool:
        return self.kind in ("integer", "decimal", "duration")

    @property
    def align(self) -> Literal["left", "right"]:
        return "right" if self.is_number else "left"


@dataclass(frozen=True, kw_only=True)
class Series:
    """One colour of a chart, ``values`` in the order of the chart's labels."""

    name: str
    values: Sequence[float]
    tone: Tone


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Stacked bars: one bar a label, one layer a series."""

    title: str
    labels: Sequence[str]
    series: Sequence[Series]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number worth saying before the table, already in words: ("Success rate", "99.2 %")."""

    heading: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a report says, whatever the format.

    ``rows`` is called once by each renderer, so that a generator can begin again: one tuple per line, in column order,
    and no more than one line in memory. ``row_count`` is for progress only; None when counting would cost a query.
    """

    title: str
    period: str
    columns: Sequence[Column]
    rows: Callable[[], Iterator[Row]]
    generated_at: datetime
    row_count: int | None = None
    figures: Sequence[Figure] = ()
    chart: Chart | None = None
