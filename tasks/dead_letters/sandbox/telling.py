"""One line of JSON for each thing that happens, at once: what was told before a crash is not lost with the process."""

import json
import os
from collections import Counter
from typing import Any

MOST_OF_A_KIND = 1000
MOST_CHARS = 4000

_pipe = -1
_told: Counter[str] = Counter()


def begin(pipe: int) -> None:
    """Tell through the file descriptor ``pipe`` from now on. Programs that a task starts do not inherit it."""
    global _pipe
    os.set_inheritable(pipe, False)
    _pipe = pipe


def tell(kind: str, **values: Any) -> None:
    """Beyond 1,000 of a kind, and 4,000 characters of a text, the rest is left out."""
    _told[kind] += 1
    if _told[kind] <= MOST_OF_A_KIND:
        short = {name: value[:MOST_CHARS] if isinstance(value, str) else value for name, value in values.items()}
        _write({"kind": kind, **short})


def tell_whole(kind: str, **values: Any) -> None:
    _write({"kind": kind, **values})


def _write(line: dict[str, Any]) -> None:
    data = (json.dumps(line, default=str) + "\n").encode()
    while data:
        data = data[os.write(_pipe, data) :]
