"""XLSX for people who go on calculating: typed cells, a frozen header with filters, and no totals row.

A reader's sum must not count a total twice, as with CSV. What the report says of itself is on a second sheet.
"""

import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import BinaryIO

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from reports.renderers.base import CountedRows, Progress, Rendered
from reports.table import Cell, Column, Kind, Table
from tasks.api import PermanentError

MOST_ROWS = 1_048_575  # of a sheet, without its header
MOST_TEXT = 32_767  # characters of a cell
MOST_DIGITS = 15  # of a number that a cell keeps exactly: it is a double
FIRST_DAY = date(1900, 3, 1)  # before it, calendars of spreadsheets disagree about a day

_NUMBER_FORMATS: dict[Kind, str] = {
    "integer": "#,##0",
    "decimal": "#,##0.00",
    "duration": '0.000" s"',
    "date": "yyyy-mm-dd",
    "datetime": "yyyy-mm-dd hh:mm:ss",
}
_WIDTHS: dict[Kind, int] = {"text": 28, "integer": 12, "decimal": 14, "duration": 12, "date": 12, "datetime": 20}
# XML has no room for these, and no spreadsheet opens a file that holds one.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def render(table: Table, stream: BinaryIO, *, progress: Progress | None = None) -> Rendered:
    """One row in memory at a time. PermanentError when there are more rows than a sheet has room for."""
    rows = CountedRows(table, progress)
    with Workbook(stream, {"constant_memory": True}) as book:
        book.set_properties({"title": table.title, "created": table.generated_at.astimezone(UTC).replace(tzinfo=None)})
        sheet = book.add_worksheet("Data")
        formats = {kind: book.add_format({"num_format": text}) for kind, text in _NUMBER_FORMATS.items()}
        _write_header(book, sheet, table)
        for number, row in enumerate(rows, start=1):
            if number > MOST_ROWS:
                raise PermanentError(f"a sheet has room for {MOST_ROWS:,} rows: ask for csv, or for fewer days")
            for index, (column, value) in enumerate(zip(table.columns, row, strict=True)):
                _write(sheet, number, index, value, column, formats)
        sheet.autofilter(0, 0, max(rows.count, 1), max(len(table.columns) - 1, 0))
        _write_about(book, table)
    return Rendered(rows=rows.count)


def _write_header(book: Workbook, sheet: Worksheet, table: Table) -> None:
    for index, column in enumerate(table.columns):
        looks = {"bold": True, "bottom": 1, "align": column.align}
        sheet.set_column(index, index, max(_WIDTHS[column.kind], len(column.heading) + 4))
        sheet.write_string(0, index, _text(column.heading), book.add_format(looks))
    sheet.freeze_panes(1, 0)
    sheet.repeat_rows(0)  # on each printed page


def _write(sheet: Worksheet, row: int, index: int, value: Cell, column: Column, formats: dict[Kind, Format]) -> None:
    """By the value's type, never by what a text looks like: "=1+1" stays a text, and is not run."""
    match value:
        case None:
            return
        case datetime() if value.date() >= FIRST_DAY:
            sheet.write_datetime(row, index, value.astimezone(UTC).replace(tzinfo=None), formats["datetime"])
        case date() if not isinstance(value, datetime) and value >= FIRST_DAY:
            sheet.write_datetime(row, index, datetime(value.year, value.month, value.day), formats["date"])
        case int() | float() | Decimal() if _fits(value):
            sheet.write_number(row, index, float(value), formats.get(column.kind))
        case float() | Decimal() if not math.isfinite(value):
            return
        case _:
            sheet.write_string(row, index, _text(str(value)))


def _fits(value: int | float | Decimal) -> bool:
    """Whether a cell keeps the number as it is. A float is one already."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Decimal):
        return (
            value.is_finite()
            and len(value.normalize().as_tuple().digits) <= MOST_DIGITS
            and abs(value.adjusted()) < 300
        )
    return abs(value) < 10**MOST_DIGITS


def _text(text: str) -> str:
    return _UNWRITABLE.sub("?", text)[:MOST_TEXT]


def _write_about(book: Workbook, table: Table) -> None:
    sheet, bold = book.add_worksheet("About"), book.add_format({"bold": True})
    made = f"{table.generated_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    lines = [("Report", table.title), ("Period", table.period), ("Generated", made)]
    lines += [(figure.heading, figure.value) for figure in table.figures]
    sheet.set_column(0, 0, 20)
    sheet.set_column(1, 1, 40)
    for row, (heading, value) in enumerate(lines):
        sheet.write_string(row, 0, _text(heading), bold)
        sheet.write_string(row, 1, _text(value))
