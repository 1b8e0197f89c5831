"""What strangers sent, as a database can keep it."""

import base64
from datetime import datetime
from typing import Any


def jsonable(value: Any) -> Any:
    """AMQP values as JSON that a database keeps: times as ISO 8601, bytes as base64, no NUL."""
    if isinstance(value, dict):
        return {plain_text(str(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return value
    return plain_text(str(value))


def plain_text(text: str) -> str:
    """``text`` as a database keeps it: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
