from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from reports.renderers.display import display, display_seconds
from reports.table import UNKNOWN


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        (None, "integer", UNKNOWN),
        (float("nan"), "decimal", UNKNOWN),
        (Decimal("Infinity"), "decimal", UNKNOWN),
        (0, "integer", "0"),
        (-1_234_567, "integer", "-1,234,567"),
        (Decimal("1234.5"), "decimal", "1,234.50"),
        (date(2026, 11, 3), "date", "3 Nov 2026"),
        (datetime(2026, 11, 3, 4, 5, tzinfo=UTC), "datetime", "3 Nov 2026 04:05"),
        (61, "duration", "1 min 01 s"),
        ("text", "text", "text"),
        (7, "text", "7"),
    ],
)
def test_values_are_shown_by_their_kind(value, kind, shown):
    assert display(value, kind) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (0.0404, "40 ms"),
        (0.9996, "1.00 s"),
        (1.239, "1.24 s"),
        (9.996, "10.0 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3_599.6, "1 h 00 min"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
        (-1.5, "-1.50 s"),
    ],
)
def test_lengths_of_time_have_about_three_digits(seconds, shown):
    assert display_seconds(seconds) == shown
