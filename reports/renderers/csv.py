"""CSV for spreadsheets and scripts: RFC 4180, UTF-8, exact values and no totals row."""

import csv
import io
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import BinaryIO

from reports.renderers.base import CountedRows, Progress, Rendered
from reports.table import Cell, Table

# Excel reads a CSV file without a byte order mark in the machine's old code page and turns "Zürich" into "ZÃ¼rich".
# People open these files by double click; scripts skip the mark with the codec "utf-8-sig".
ENCODING = "utf-8-sig"

# A spreadsheet runs a text that begins like a formula (OWASP, "CSV Injection"), the full-width forms included.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def render(table: Table, stream: BinaryIO, *, progress: Progress | None = None) -> Rendered:
    """Header of column names, then the rows. A reader's sum must not count a total twice, so there is none."""
    rows = CountedRows(table, progress)
    # half of a surrogate pair has no UTF-8: a "?" costs less than the whole report
    text = io.TextIOWrapper(stream, encoding=ENCODING, errors="replace", newline="")
    writer = csv.writer(text, dialect="excel")  # CRLF, quotes doubled: RFC 4180
    writer.writerow([_guarded(column.name) for column in table.columns])
    writer.writerows([_field(value) for value in row] for row in rows)
    text.flush()
    text.detach()  # else the wrapper closes the caller's stream
    return Rendered(rows=rows.count)


def _field(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (float, Decimal)):  # numbers stay numbers, so "-1.50" is not guarded
        plain = "f" if isinstance(value, Decimal) else ""
        return format(value, plain) if math.isfinite(value) else ""
    return _guarded(str(value))


def _guarded(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
