"""The work that every contestant does: nothing, with the same 500 bytes, and a mark left in a file.

Standard library only: this is imported in the environment of every contestant.
"""

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAYLOAD: dict[str, Any] = {
    "kind": "thumbnails",
    "tenant": "acme-eu-1",
    "requested_by": 81723,
    "source": {
        "bucket": "uploads",
        "key": "2026/05/17/5f0c9c0e-8b1e-4c55-9a3d-2f7c1ae0b6d2.jpg",
        "etag": "9b2cf535f27731c974343645a3985328",
    },
    "sizes": [[160, 120], [640, 480], [1600, 1200]],
    "formats": ["webp", "jpeg"],
    "quality": 82,
    "strip_metadata": True,
    "callback": "https://app.example.com/hooks/jobs",
    "labels": {"campaign": "spring", "channel": "web", "priority": "normal"},
    "sent": 0.0,
}

MARK = struct.Struct("dd")  # when it was sent and when it began, by the machine's monotonic clock
_file: int | None = None


def payload(sent: float = 0.0) -> dict[str, Any]:
    """``sent``: time.monotonic() just before the call that enqueues, where the way of a job is timed."""
    return {**PAYLOAD, "sent": sent}


def run(payload: Mapping[str, Any]) -> None:
    """The no-op task: one write of 16 bytes, which any process or thread may do at any time."""
    global _file
    if _file is None:
        _file = os.open(os.environ["BENCH_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(_file, MARK.pack(payload["sent"], time.monotonic()))


class Marks:
    """What the runs have left behind."""

    def __init__(self, path: Path):
        self.path = path
        self.clear()

    def __len__(self) -> int:
        return self.path.stat().st_size // MARK.size

    def clear(self) -> None:
        self.path.write_bytes(b"")

    def began(self) -> list[float]:
        """When each run began, the first one first."""
        return sorted(began for _, began in self._read())

    def delays(self) -> list[float]:
        """Seconds from sending to beginning, of each run, in the order of sending."""
        return [began - sent for sent, began in sorted(self._read())]

    def _read(self) -> list[tuple[float, float]]:
        return list(MARK.iter_unpack(self.path.read_bytes()))
