"""Values as people read them, for formats that are looked at rather than read by programs."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal

from reports.table import UNKNOWN, Cell, Kind


def display(value: Cell, kind: Kind) -> str:
    """``value`` in words: 12,345; 1,234.50; 17 Nov 2026; 2 min 05 s. A dash for None and for what is no number."""
    if value is None or (isinstance(value, (float, Decimal)) and not math.isfinite(value)):
        return UNKNOWN
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%-d %b %Y %H:%M}"
    if isinstance(value, date):
        return f"{value:%-d %b %Y}"
    if isinstance(value, (int, float, Decimal)):
        match kind:
            case "duration":
                return display_seconds(float(value))
            case "integer":
                return f"{value:,.0f}"
            case "decimal":
                return f"{value:,.2f}"
    return str(value)


def display_seconds(seconds: float) -> str:
    """A length of time to about three digits: 340 ms, 1.24 s, 42.0 s, 2 min 05 s, 3 h 20 min, 2 d 4 h."""
    if seconds < 0:
        return f"-{display_seconds(-seconds)}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, seconds_left = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {seconds_left:02} s"
    hours, minutes_left = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes_left:02} min"
    days, hours_left = divmod(hours, 24)
    return f"{days} d {hours_left} h"
