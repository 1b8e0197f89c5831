"""Tables to render, and readers of what came out."""

import csv
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO, StringIO
from typing import Any

from pypdf import PdfReader

from reports.renderers import renderer
from reports.table import Chart, Column, Figure, Row, Series, Table

COLUMNS = [
    Column(name="customer", heading="Customer"),
    Column(name="note", heading="Note"),
    Column(name="orders", heading="Orders", kind="integer", total=True),
    Column(name="amount", heading="Amount", kind="decimal", total=True),
    Column(name="day", heading="Day", kind="date"),
    Column(name="seen_at", heading="Last seen", kind="datetime"),
    Column(name="run_seconds", heading="Run", kind="duration"),
]

CHART = Chart(
    title="Orders by day",
    labels=["17 Nov", "18 Nov"],
    series=[Series(name="Paid", values=[3, 4], tone="good"), Series(name="Open", values=[1, 0], tone="open")],
)


def line(
    customer: str | None = "Ada",
    note: str | None = "prompt",
    orders: int | None = 1,
    amount: Decimal | float | None = Decimal("9.50"),
) -> Row:
    return (customer, note, orders, amount, date(2026, 11, 17), datetime(2026, 11, 17, 8, 30, tzinfo=UTC), 1.5)


def many(count: int) -> Callable[[], Any]:
    return lambda: (line(customer=f"Customer {number}", orders=number) for number in range(count))


NONE_ROW: Row = (None,) * len(COLUMNS)
UNICODE_ROWS = [
    line("Zoë Łukasz", "Grüße aus Zürich"),
    line("Москва", "Αθήνα"),
    line("東京", "\U0001f600 \ud800 \x00 bell\x07"),
]
FORMULA_ROWS = [line(f"{start}SUM(A1)", amount=Decimal("-12.50")) for start in "=+-@\t\r"]
LONG_ROWS = [line("word " * 2_000, "x" * 20_000)]

CASES: dict[str, tuple[Callable[[], Any], int]] = {
    "empty": (lambda: iter(()), 0),
    "one row": (lambda: iter([line()]), 1),
    "5,000 rows": (many(5_000), 5_000),
    "unicode": (lambda: iter(UNICODE_ROWS), 3),
    "no values": (lambda: iter([NONE_ROW]), 1),
    "formulas": (lambda: iter(FORMULA_ROWS), 6),
    "very long cells": (lambda: iter(LONG_ROWS), 1),
}


THREE_ROWS = many(3)


def table(rows: Callable[[], Any] = THREE_ROWS, columns: Sequence[Column] = COLUMNS, **changes: Any) -> Table:
    defaults: dict[str, Any] = {
        "title": "Orders",
        "period": "17 Nov 2026 – 23 Nov 2026",  # noqa: RUF001
        "generated_at": datetime(2026, 11, 23, 13, 5, tzinfo=UTC),
        "figures": [Figure(heading="Revenue", value="1,234")],
        "chart": CHART,
    }
    return Table(rows=rows, columns=columns, **(defaults | changes))


def render(format: Any, made: Table) -> bytes:
    stream = BytesIO()
    renderer(format)(made, stream)
    return stream.getvalue()


def pdf(made: Table) -> PdfReader:
    return PdfReader(BytesIO(render("pdf", made)))


def pdf_text(made: Table) -> str:
    return "\n".join(page.extract_text() for page in pdf(made).pages)


def csv_lines(made: Table) -> list[list[str]]:
    return list(csv.reader(StringIO(render("csv", made).decode("utf-8-sig"), newline="")))
