"""The contract of a renderer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from reports.table import Row, Table

PROGRESS_EVERY_ROWS = 1000

Progress = Callable[[int], None]
"""Called with the number of rows done. May raise to stop the rendering."""


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What was written. ``pages`` is None for formats without pages."""

    rows: int
    pages: int | None = None


class Renderer(Protocol):
    def __call__(self, table: Table, stream: BinaryIO, *, progress: Progress | None = None) -> Rendered:
        """Write ``table`` to ``stream``, from where it stands, and leave it open. The same table gives the same bytes.
        ``progress`` hears of every 1,000 rows and of the end."""


class CountedRows:
    """The rows of ``table``, counted and checked while they pass."""

    def __init__(self, table: Table, progress: Progress | None):
        self._table = table
        self._progress = progress
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        wanted = len(self._table.columns)
        for row in self._table.rows():
            if len(row) != wanted:
                raise ValueError(f"row {self.count + 1} has {len(row)} cells and the table {wanted} columns")
            yield row
            self.count += 1
            if self._progress and self.count % PROGRESS_EVERY_ROWS == 0:
                self._progress(self.count)
        if self._progress and (self.count % PROGRESS_EVERY_ROWS or not self.count):
            self._progress(self.count)
