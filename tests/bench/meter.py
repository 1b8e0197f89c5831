"""What processes use, read from /proc. Standard library only: contestants read it too."""

import os
from collections.abc import Mapping
from pathlib import Path

from compose.private import pids

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MEBIBYTE = 1 << 20

Reading = dict[str, float]


class Meter:
    """CPU seconds of families of processes since its making, by the part they play."""

    def __init__(self, parts: Mapping[str, int]):
        """``parts``: each one's main process, by the part's name."""
        self._parts = dict(parts)
        self._begin = self._read()

    def read(self) -> Reading:
        return {part: seconds - self._begin[part] for part, seconds in self._read().items()}

    def _read(self) -> Reading:
        entries = pids.table()
        return {part: sum(map(cpu_seconds, family(pid, entries))) for part, pid in self._parts.items()}


def family(pid: int, entries: Mapping[int, pids.Entry] | None = None) -> list[int]:
    """The process and all below it, parents first."""
    entries = pids.table() if entries is None else entries
    found = [pid]
    for parent in found:  # grows while it is read
        found.extend(entry.pid for entry in entries.values() if entry.parent == parent)
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of its children that have ended; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # a name may hold spaces and brackets
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS_A_SECOND


def resident_mebibytes(pid: int) -> float:
    """Its memory, pages that it shares with its family included; 0 for a process that is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * PAGE_BYTES / MEBIBYTE
