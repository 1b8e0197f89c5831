"""Facts as lines for people."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any


def facts(told: Mapping[str, Any], *, width: int = 14) -> Iterator[str]:
    """`name   value`, without those that say nothing. Further lines of a value stand below its first."""
    for name, value in told.items():
        if value not in (None, "", {}, []):
            text = plain(value).rstrip().replace("\n", "\n" + " " * width)
            yield from f"{name.replace('_', ' '):<{width - 1}} {text}".splitlines()


def plain(value: Any) -> str:
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def one_line(text: str) -> str:
    """``text`` as one line of a list, where a foreign message may hold something that looks like the next ones."""
    return " ".join(text.split("\n")).rstrip()


def moment(value: datetime | None) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if value else "never"
