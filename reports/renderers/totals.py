"""The last line of a printed table."""

from collections.abc import Sequence
from decimal import Decimal

from reports.table import Cell, Column, Row


class Totals:
    """Running sums of the columns that ask for one."""

    def __init__(self, columns: Sequence[Column]):
        self._columns = columns
        self.wanted = [index for index, column in enumerate(columns) if column.total]
        self._sums: dict[int, int | Decimal] = dict.fromkeys(self.wanted, 0)

    def add(self, row: Row) -> None:
        """Count ``row`` in; what is not a number (None: unknown) adds nothing."""
        for index in self.wanted:
            value = row[index]
            if isinstance(value, float):
                value = Decimal(repr(value))  # 0.1 + 0.2 is 0.3 on paper, and floats and Decimals do not add
            if isinstance(value, int) or (isinstance(value, Decimal) and value.is_finite()):
                self._sums[index] += value

    def row(self) -> list[Cell]:
        """The sums in their columns, "Total" in the first column that has none, and "" elsewhere."""
        cells: list[Cell] = [self._sums.get(index, "") for index in range(len(self._columns))]
        label = next((index for index, column in enumerate(self._columns) if not column.total), None)
        if label is not None:
            cells[label] = "Total"
        return cells
