"""Moments: as people write them, and as ids hold them."""

import re
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

_SPAN = re.compile(r"(\d{1,6})\s*(min|h|d|w)")
_UNITS = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_moment(text: str, *, now: datetime) -> datetime:
    """``text`` as an aware moment: ISO 8601, in UTC unless it says, a day being its beginning; or how long before
    ``now``: "30min", "2h", "3d", "1w". Raises ValueError that tells how to write one."""
    return _read(text, now, direction=-1)


def read_moment_to_come(text: str, *, now: datetime) -> datetime:
    """As ``read_moment``, "2h" being two hours after ``now``."""
    return _read(text, now, direction=1)


def _read(text: str, now: datetime, *, direction: int) -> datetime:
    text = text.strip()
    try:
        if span := _SPAN.fullmatch(text):
            return now + direction * timedelta(**{_UNITS[span[2]]: int(span[1])})
        day = date.fromisoformat(text) if len(text) == 10 else None
        moment = datetime.combine(day, time()) if day else datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text[:80]!r} is no moment; write 2026-03-01, 2026-03-01T12:30 (UTC), 30min, 2h, 3d or 1w"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def least_id_at(moment: datetime) -> UUID:
    """The least UUIDv7 that can be made at ``moment`` (aware): the first 48 bits are milliseconds since 1970, so those
    that were made before then are less. Of a moment before 1970, the least of all."""
    milliseconds = max(0, (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1))
    return UUID(int=milliseconds << 80)
