from datetime import UTC, datetime, timedelta, timezone

import pytest

from tasks.moments import read_moment

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


def test_a_distance_may_be_meant_ahead():
    assert read_moment("2h", now=NOW, ahead=True) == NOW + timedelta(hours=2)
    assert read_moment("2026-03-01", now=NOW, ahead=True) == datetime(2026, 3, 1, tzinfo=UTC)
