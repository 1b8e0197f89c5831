"""XLSX as a spreadsheet reads it: typed cells, texts that stay texts, nothing lost without a word."""

from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from openpyxl import load_workbook

from reports.renderers import xlsx
from reports.table import Column
from tasks.api import PermanentError
from tests.unit.reports.tables import COLUMNS, line, many, render, table


def book(made: Any) -> Any:
    return load_workbook(BytesIO(render("xlsx", made)))


def cell(value: Any, kind: Any = "text") -> Any:
    sheet = book(table(lambda: iter([(value,)]), [Column(name="value", heading="Value", kind=kind)]))["Data"]
    return sheet["A2"]


def test_there_is_a_header_and_a_line_for_each_row_and_no_total():
    sheet = book(table(many(10)))["Data"]

    assert [cell.value for cell in sheet[1]] == [column.heading for column in COLUMNS]
    assert sheet.max_row == 11
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:G11"


def test_what_the_report_says_of_itself_is_on_a_second_sheet():
    about = [[cell.value for cell in row] for row in book(table())["About"].iter_rows()]

    assert about[0] == ["Report", "Orders"]
    assert about[2] == ["Generated", "2026-11-23 13:05 UTC"]
    assert about[-1] == ["Revenue", "1,234"]


@pytest.mark.parametrize(
    ("value", "kind", "read"),
    [
        (None, "text", None),
        (-12, "integer", -12),
        (1.5, "duration", 1.5),
        (Decimal("-12.50"), "decimal", -12.5),
        (float("nan"), "decimal", None),
        (Decimal("Infinity"), "decimal", None),
        (10**400, "integer", str(10**400)),
        (Decimal("0.12345678901234567890"), "decimal", "0.12345678901234567890"),
        (date(2026, 11, 3), "date", datetime(2026, 11, 3)),
        (datetime(2026, 11, 3, 8, 30, tzinfo=UTC), "datetime", datetime(2026, 11, 3, 8, 30)),
        (date(1815, 12, 10), "date", "1815-12-10"),
        ("half \ud800 pair \x00", "text", "half ? pair ?"),
        ("x" * 40_000, "text", "x" * 32_767),
    ],
)
def test_a_value_keeps_its_type_where_a_cell_can_keep_it(value, kind, read):
    assert cell(value, kind).value == read


@pytest.mark.parametrize("text", ["=1+1", "+49 30 123", "-5", "@cmd", "https://example.com", "\t=1"])
def test_a_text_is_never_a_formula_nor_a_link(text):
    found = cell(text)

    assert found.value == text
    assert found.data_type in ("s", "inlineStr")
    assert found.hyperlink is None


def test_more_rows_than_a_sheet_has_are_refused_and_not_cut_off(monkeypatch):
    monkeypatch.setattr(xlsx, "MOST_ROWS", 3)
    with pytest.raises(PermanentError, match="room for 3 rows"):
        render("xlsx", table(lambda: iter([line()] * 4)))
