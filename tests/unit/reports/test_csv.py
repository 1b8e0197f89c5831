from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from reports.table import Column
from tests.unit.reports.tables import COLUMNS, FORMULA_ROWS, LONG_ROWS, NONE_ROW, csv_lines, line, many, render, table


def test_spreadsheets_are_told_it_is_utf_8():
    data = render("csv", table(lambda: iter([line("Zürich")])))

    assert data.startswith(b"\xef\xbb\xbfcustomer,")
    assert "Zürich" in data.decode("utf-8-sig")


def test_lines_end_and_quotes_double_as_rfc_4180_says():
    data = render("csv", table(lambda: iter([line('say "hi", twice\nplease')])))

    assert data.endswith(b"\r\n")
    assert b'"say ""hi"", twice\nplease",prompt' in data


def test_there_is_a_header_and_a_line_for_each_row_and_no_total():
    lines = csv_lines(table(many(10)))

    assert lines[0] == [column.name for column in COLUMNS]
    assert len(lines) == 11
    assert "Total" not in str(lines)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, ""),
        (-12, "-12"),
        (-1.5, "-1.5"),
        (Decimal("-1E+3"), "-1000"),
        (Decimal("0.10"), "0.10"),
        (float("-inf"), ""),
        (float("nan"), ""),
        (10**400, str(10**400)),
        (date(2026, 11, 3), "2026-11-03"),
        (datetime(2026, 11, 3, 2, 30, tzinfo=timezone(timedelta(hours=2))), "2026-11-03T00:30:00Z"),
        (datetime(2026, 11, 3, tzinfo=UTC), "2026-11-03T00:00:00Z"),
        ("plain", "plain"),
        ("-5", "'-5"),
        ("=1+1", "'=1+1"),
        ("+49 30 123", "'+49 30 123"),
        ("@cmd", "'@cmd"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("a=1", "a=1"),
        ("half \ud800 pair", "half ? pair"),
    ],
)
def test_numbers_stay_numbers_and_texts_never_become_formulas(value, field):
    made = table(lambda: iter([(value,)]), [Column(name="value", heading="Value")])

    assert csv_lines(made) == [["value"], [field]]


def test_every_formula_is_disarmed():
    for formula, _, _, amount, *_ in csv_lines(table(lambda: iter(FORMULA_ROWS)))[1:]:
        assert formula.startswith("'")
        assert amount == "-12.50"


def test_long_and_missing_cells_are_kept_as_they_are():
    long, empty = csv_lines(table(lambda: iter([*LONG_ROWS, NONE_ROW])))[1:]

    assert len(long[1]) == 20_000
    assert empty == [""] * len(COLUMNS)
