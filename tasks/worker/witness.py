"""What is known of a pool child that did not come back: the signal, its memory, its last log lines.

The last lines lie in memory that the children share with the main process, so they outlive any kill -9 of the child and
cost neither a file nor a disk that may be full.
"""

import logging
import mmap
import os
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Any

from celery.signals import task_prerun, worker_process_init

SLOTS = 256
SLOT_BYTES = 16_384
_HEADER = Struct("=II48s")  # process id, bytes written so far, attempt
_ROOM = SLOT_BYTES - _HEADER.size
LINES = 20
LINE_CHARS = 500
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class LastWords:
    """A slot of shared memory for each child's latest log lines."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOTS * SLOT_BYTES)  # pages nobody writes to cost nothing

    def begin(self, attempt_id: str) -> None:
        """Called in the child: from here on its lines belong to ``attempt_id``."""
        _HEADER.pack_into(self._memory, self._at(os.getpid()), os.getpid(), 0, attempt_id.encode()[:48])

    def write(self, line: str) -> None:
        """Called in the child."""
        at = self._at(os.getpid())
        owner, written, attempt = _HEADER.unpack_from(self._memory, at)
        if owner != os.getpid():  # nothing has begun yet
            return
        data = line.encode("utf-8", "backslashreplace")[: _ROOM - 1] + b"\n"
        ring, turn = at + _HEADER.size, written % _ROOM
        first, rest = data[: _ROOM - turn], data[_ROOM - turn :]
        self._memory[ring + turn : ring + turn + len(first)] = first
        self._memory[ring : ring + len(rest)] = rest
        _HEADER.pack_into(self._memory, at, owner, written + len(data), attempt)

    def read(self, process_id: int, attempt_id: str) -> list[str]:
        """The last lines of ``attempt_id``; none where another child has taken the slot since."""
        at = self._at(process_id)
        owner, written, attempt = _HEADER.unpack_from(self._memory, at)
        if (owner, attempt.rstrip(b"\0")) != (process_id, attempt_id.encode()[:48]):
            return []
        ring = self._memory[at + _HEADER.size : at + SLOT_BYTES]
        if written <= _ROOM:
            kept = ring[:written]
        else:  # the oldest line that is left lacks its beginning
            turn = written % _ROOM
            kept = (ring[turn:] + ring[:turn]).partition(b"\n")[2]
        lines = kept.decode("utf-8", "replace").splitlines()
        return [line[:LINE_CHARS].replace("\0", "\\0") for line in lines[-LINES:]]

    @staticmethod
    def _at(process_id: int) -> int:
        return process_id % SLOTS * SLOT_BYTES


class _Handler(logging.Handler):
    """Keeps a child's log lines where they outlive it."""

    def __init__(self, words: LastWords):
        super().__init__()
        self._words = words
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):  # evidence is a help; no line of it may cost an attempt
            self._words.write(self.format(record))


class Witness:
    """The main process's knowledge of its children. Made before the pool forks."""

    def __init__(self, *, resident: Callable[[int], int | None] | None = None):
        self.words = LastWords()
        worker_process_init.connect(self._listen, weak=False)
        self._resident = resident or resident_bytes
        self._peaks: dict[str, int] = {}
        self._lock = threading.Lock()
        self._oom_kills = oom_kills()

    def sample(self, running: Iterable[tuple[str, int]]) -> None:
        """Look at the memory of each (attempt id, process id) that runs now, and forget those that do no more."""
        running = list(running)  # several attempts to a process, where they are short
        sizes = {process_id: self._resident(process_id) or 0 for process_id in {id for _, id in running}}
        seen = {attempt_id: sizes[process_id] for attempt_id, process_id in running}
        with self._lock:
            self._peaks = {attempt_id: max(size, self._peaks.get(attempt_id, 0)) for attempt_id, size in seen.items()}

    def _listen(self, **_: Any) -> None:
        """Called in each child when it starts."""
        logging.getLogger().addHandler(_Handler(self.words))
        task_prerun.connect(lambda task_id, **_: self.words.begin(task_id), weak=False)

    def testify(self, attempt_id: str, process_id: int | None, how: str) -> dict[str, Any]:
        """Evidence of a child's end. ``how`` is what the pool said, like "signal 9 (SIGKILL)" or "exitcode 1"."""
        evidence: dict[str, Any] = {}
        if signal := re.search(r"signal \d+ \((\w+)\)", how):
            evidence["signal"] = signal[1]
        elif code := re.search(r"exitcode (-?\d+)", how):
            evidence["exit_code"] = int(code[1])
        with self._lock:
            if peak := self._peaks.get(attempt_id):
                evidence["peak_memory_bytes"] = peak
            if (kills := oom_kills()) > self._oom_kills and evidence.get("signal") == "SIGKILL":
                evidence["kernel_out_of_memory_kills"] = kills - self._oom_kills
            self._oom_kills = kills
        if process_id:
            evidence["process_id"] = process_id
            evidence["log"] = self.words.read(process_id, attempt_id)
        return evidence


def resident_bytes(process_id: int) -> int | None:
    """Memory of a process that is in RAM now; None where that can not be read."""
    try:
        return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None


def oom_kills() -> int:
    """Processes that the kernel's memory killer has ended: in this container where it counts, else on this host."""
    for path in ("/sys/fs/cgroup/memory.events", "/proc/vmstat"):
        with suppress(OSError, ValueError):
            for line in Path(path).read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return 0
