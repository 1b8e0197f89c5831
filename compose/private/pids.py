"""Which process is it? A pid is given out again after its owner's end, so none is trusted without its birth."""

import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One line of the system's process table. ``birth`` differs between two owners of the same pid."""

    pid: int
    parent: int
    group: int
    birth: str


@dataclass(frozen=True)
class Record:
    """What a pid file says: which process, and the signal that makes it end in good order."""

    pid: int
    birth: str
    stop_signal: int

    def is_alive(self) -> bool:
        entry = table().get(self.pid)
        return entry is not None and entry.birth == self.birth


def table() -> dict[int, Entry]:
    """Every process but the dead ones whose parent has not looked yet."""
    entries = _from_proc() if Path("/proc/self/stat").exists() else _from_ps()
    return {entry.pid: entry for entry in entries}


def family(record: Record) -> list[int]:
    """The process, all below it and all in its group, parents first; the group's rest where it has ended itself."""
    entries = table()
    leader = entries.get(record.pid)
    if leader and leader.birth != record.birth:
        return []  # somebody else's now
    found = [entry.pid for entry in entries.values() if record.pid in (entry.pid, entry.group)]
    found.sort(key=lambda pid: pid != record.pid)
    for parent in found:  # grows while it is read
        found.extend(entry.pid for entry in entries.values() if entry.parent == parent and entry.pid not in found)
    return found


def bearing(mark: str) -> list[int]:
    """Everybody with ``mark`` (NAME=value) in the environment they started with; nobody where there is no /proc."""
    found = []
    for pid in table():
        try:
            if mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
        except OSError:  # it has ended since, or is another user's
            continue
    return found


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def write_record(path: Path, pid: int, stop_signal: signal.Signals) -> Record | None:
    """Note a process that was just started; nothing is noted when it has ended already."""
    if (entry := table().get(pid)) is None:
        return None
    record = Record(pid, entry.birth, stop_signal)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(record)) + "\n")
    return record


def read_record(path: Path) -> Record | None:
    """None for a file that was cut short: its writer died before the process could have done anything."""
    try:
        return Record(**json.loads(path.read_text()))
    except (ValueError, TypeError):
        return None


def end_leftovers(run: Path, *, grace_seconds: float = 15) -> list[str]:
    """End what a killed launcher left running, by the pid files in ``run``, and answer the names of what was ended."""
    records = {path: read_record(path) for path in sorted(run.glob("*.pid"))}
    left = {path.stem: record for path, record in records.items() if record and family(record)}
    for record in left.values():
        send(family(record), signal.SIGCONT)  # a frozen process hears nothing but SIGKILL
        if record.is_alive():
            send([record.pid], signal.Signals(record.stop_signal))
    deadline = time.monotonic() + grace_seconds
    while any(record.is_alive() for record in left.values()) and time.monotonic() < deadline:
        time.sleep(0.1)
    for record in left.values():
        send(family(record), signal.SIGKILL)
    for path in records:
        path.unlink(missing_ok=True)
    return list(left)


def _from_proc() -> list[Entry]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    entries = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()  # a name may hold spaces and brackets
        except OSError:  # it has ended since, or is hidden from us
            continue
        state, parent, group, started = fields[0], int(fields[1]), int(fields[2]), fields[19]
        if state not in "ZX":
            entries.append(Entry(int(folder.name), parent, group, f"{started}@{boot}"))
    return entries


def _from_ps() -> list[Entry]:
    columns = "pid=,ppid=,pgid=,stat=,lstart="
    listing = subprocess.run(["ps", "-axo", columns], capture_output=True, text=True, check=True).stdout
    rows = (line.split(maxsplit=4) for line in listing.splitlines())
    return [
        Entry(int(pid), int(parent), int(group), birth)
        for pid, parent, group, state, birth in rows
        if not state.startswith("Z")
    ]
