"""Moments as people write them."""

import re
from datetime import UTC, date, datetime, time, timedelta

_AGO = re.compile(r"(\d{1,6})\s*(min|h|d|w)")
_UNITS = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_moment(text: str, *, now: datetime, ahead: bool = False) -> datetime:
    """``text`` as an aware moment: ISO 8601, in UTC unless it says, a day being its beginning; or how long before
    ``now``, or with ``ahead`` after it: "30min", "2h", "3d", "1w". Raises ValueError that tells how to write one."""
    text = text.strip()
    try:
        if ago := _AGO.fullmatch(text):
            distance = timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            return now + distance if ahead else now - distance
        day = date.fromisoformat(text) if len(text) == 10 else None
        moment = datetime.combine(day, time()) if day else datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text[:80]!r} is no moment; write 2026-03-01, 2026-03-01T12:30 (UTC), 30min, 2h, 3d or 1w"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
