from datetime import UTC, datetime, timedelta, timezone

import pytest

from tasks.moments import read_moment, read_moment_to_come

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30min", NOW - timedelta(minutes=30)),
        (" 2h ", NOW - timedelta(hours=2)),
        ("3 d", NOW - timedelta(days=3)),
        ("1w", NOW - timedelta(weeks=1)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T12:30", datetime(2026, 3, 1, 12, 30, tzinfo=UTC)),
        ("2026-03-01T12:30:00Z", datetime(2026, 3, 1, 12, 30, tzinfo=UTC)),
        ("2026-03-01T12:30+02:00", datetime(2026, 3, 1, 12, 30, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_people_write_moments_in_many_ways(text, moment):
    assert read_moment(text, now=NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2h ago", "-2h", "999999w", "2026-13-01", "12:30", "2026-02-30"])
def test_what_is_no_moment_is_told_how_to_be_one(text):
    with pytest.raises(ValueError, match=r"is no moment; write 2026-03-01"):
        read_moment(text, now=NOW)


@pytest.mark.parametrize(("text", "days"), [("2h", 2 / 24), ("3d", 3), ("1w", 7)])
def test_a_span_leads_to_a_moment_to_come(text, days):
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert read_moment_to_come(text, now=now) == now + timedelta(days=days)
    assert read_moment_to_come("2026-03-01T12:30", now=now) == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
