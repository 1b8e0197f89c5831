"""Run a dead job in a sandbox, to see what a replay would do before it does it.

A process of its own (sandbox/) runs the task: mail goes to memory, files to a folder that is thrown away, and no
transaction of its database connections is ever committed. It is killed at the task's time limit, and may die of what
it runs: whoever asked gets a report all the same.
"""

import json
import os
import selectors
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from django.db import connections
from uuid_utils.compat import uuid7

from tasks.dead_letters import editing, redirects
from tasks.dead_letters.masking import Mask, mask_of
from tasks.errors import IllegalTransition, RehearsalUnavailable
from tasks.models import DeadLetter, error_summary
from tasks.registry import TaskSpec, registry

MOST_SECONDS = 60.0
MOST_START_SECONDS = 30.0
MOST_AT_ONCE = 2
OUTPUT_CHARS = 4000

LIMITS = (
    "What a mail server, or any other service, would answer is not known: nothing is sent.",
    "Python code can not reach the network. A library in C, or a program that the task starts, could: programs are "
    "listed.",
    "Rows that the task changes are locked until the rehearsal ends, at most a minute; its threads do not see each "
    "other's.",
    "Rows are counted as Django's statements change them: those too that the task takes back itself, and not what the "
    "database changes along with them.",
    "What the task does on commit does not happen, and jobs that it enqueues are not published.",
)
"""What a rehearsal can not show, for the page that shows one."""

_rooms = threading.BoundedSemaphore(MOST_AT_ONCE)


@dataclass(kw_only=True)
class Rehearsal:
    """What happened, beside what had happened. Passed: it succeeded. Unclear: the sandbox had to hold it back."""

    letter_id: UUID
    task: str
    verdict: Literal["passed", "failed", "unclear"]
    seconds: float
    outcome: dict[str, Any]
    """succeeded, result, error_type, error, traceback, reason, retry_in_seconds: as a worker would have recorded."""
    original: dict[str, Any]
    """reason, error_type, error, traceback, attempt, died_at of the failure."""
    mails: list[dict[str, Any]] = field(default_factory=list)
    """sender, recipients, subject, text (its first 4,000 characters), attachments (how many)."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    """What channels said they would send: channel, recipients, subject."""
    files: list[dict[str, Any]] = field(default_factory=list)
    """name in the storage, size_bytes."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """table, act (insert, update, delete), number: what its statements changed, until all was rolled back."""
    jobs: list[dict[str, Any]] = field(default_factory=list)
    """task, queue, due_at."""
    log: list[dict[str, Any]] = field(default_factory=list)
    """level, logger, message."""
    refused: list[str] = field(default_factory=list)
    """What it wanted to do outside, and was not let."""
    programs: list[str] = field(default_factory=list)
    """What it started, and what the sandbox does not hold back."""
    output: str = ""
    """The end of what it printed."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "letter_id": str(self.letter_id)}


def rehearse(
    letter_id: UUID, *, requested_by: str = "", payload: dict[str, Any] | None = None, task: str = ""
) -> Rehearsal:
    """What a replay of the letter's job would do now; with ``payload`` and ``task``, after such an edit. Masks in
    ``payload`` stand for what they do in an edit (editing.py).

    Takes as long as the task, at most a minute, and a second or two more. Nothing is changed.

    Raises DeadLetter.DoesNotExist; IllegalTransition for a message without a job, unless ``payload`` and ``task`` are
    given; InvalidJob when the task is not known, or a mask stands for nothing; and RehearsalUnavailable when none can
    be held now.
    """
    letter = DeadLetter.objects.select_related("job").defer("body").get(pk=letter_id)
    job = letter.job
    if job is not None:
        spec = registry.get(redirects.of_job(job, to_task=task).task)
    elif payload is None or not task:
        raise IllegalTransition("the dead letter is a message without a job; repair its text, and rehearse that")
    else:
        spec = registry.get(task)
    if payload is not None:
        payload = editing.unmasked(letter, payload, task=spec.name)
    order = {
        "task": spec.name,
        "payload": payload if payload is not None or job is None else job.payload,
        "job_id": str(job.pk if job else uuid7()),
        "attempt": job.attempt + 1 if job else 1,
        "number": 1,  # a replay counts its attempts anew
        "metadata": job.metadata if job else {},
        "requested_by": job.requested_by if job else requested_by,
        "media_root": str(settings.MEDIA_ROOT),
        "soft_limit_seconds": min(spec.soft_time_limit_seconds, MOST_SECONDS - 5),
    }
    with _room() as folder:
        process = _Process(folder, {**order, "databases": _databases(folder), "folder": str(folder)})
        process.watch(min(spec.time_limit_seconds, MOST_SECONDS))
        return _report(letter, spec, process, folder)


def masked(report: Rehearsal, *, payload: dict[str, Any] | None = None) -> Rehearsal:
    """The report for who may not unmask; ``payload`` is the edited one, where it had one. What the letter's payload
    hides is hidden wherever the task repeated it, as far as it did so word for word."""
    letter = DeadLetter.objects.select_related("job").defer("body").get(pk=report.letter_id)
    mask = Mask() if letter.job is None else mask_of(letter.job)
    editing.shown(letter, mask=mask.payload)
    for each in (letter.job.payload if letter.job is not None else None, payload):
        mask.payload(report.task, each)
    mask.named(letter.headers)
    told = {name: value for name, value in vars(report).items() if name not in ("letter_id", "seconds")}
    return Rehearsal(letter_id=report.letter_id, seconds=report.seconds, **mask.anywhere(told))


class _Process:
    """The child, and what it told until its end, whatever that was."""

    def __init__(self, folder: Path, order: dict[str, Any]):
        self.told: list[dict[str, Any]] = []
        self.began_at: float | None = None
        self.ended_at = 0.0
        self.timed_out = False
        self.exit_code: int | None = None
        self._rest = b""
        self._reader, writer = os.pipe()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(folder / "temp"),
        }
        # A file that has no name: it holds the database's password.
        with tempfile.TemporaryFile("w+", dir=folder) as stdin, (folder / "output").open("wb") as output:
            json.dump(order, stdin, default=str)
            stdin.seek(0)
            try:
                self._process = subprocess.Popen(  # a program of ours, with arguments of ours
                    [sys.executable, "-m", __package__ + ".sandbox", str(writer)],
                    stdin=stdin,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    pass_fds=[writer],
                    start_new_session=True,
                )
            except OSError as error:
                os.close(self._reader)
                raise RehearsalUnavailable(f"no process can be started: {error}") from error
            finally:
                os.close(writer)

    def watch(self, limit_seconds: float) -> None:
        """Hear it out, until it ends or its time is up; then nothing of it is left."""
        deadline = time.monotonic() + MOST_START_SECONDS
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._reader, selectors.EVENT_READ)
                while not self._is_over():
                    left = deadline - time.monotonic()
                    if left <= 0:
                        self.timed_out = True
                        break
                    if selector.select(min(left, 0.1)):
                        started = self.began_at is None
                        if not self._read():
                            break
                        if started and self.began_at is not None:
                            deadline = self.began_at + limit_seconds
        finally:
            self.ended_at = time.monotonic()
            self._end()

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [{name: value for name, value in line.items() if name != "kind"} for line in self.told
                if line["kind"] == kind]  # fmt: skip

    def _read(self) -> bool:
        """False at the end of the pipe, or once the outcome is there."""
        data = os.read(self._reader, 65_536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.told += [json.loads(line) for line in lines]
        if self.began_at is None and any(line["kind"] == "begin" for line in self.told):
            self.began_at = time.monotonic()
        return bool(data) and not any(line["kind"] == "end" for line in self.told)

    def _is_over(self) -> bool:
        """Whether it has died, which its pipe does not tell while a process that it forked has it too."""
        ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            os.set_blocking(self._reader, False)
            with suppress(BlockingIOError):
                while self._read():
                    pass
        return ended is not None

    def _end(self) -> None:
        """Kill what is left, its own children included: as long as it is not waited for, its group's number is its."""
        if not self.timed_out and not self.all("end"):
            end = time.monotonic() + 1  # its pipe is closed: let it say how it died
            while time.monotonic() < end and not self._is_over():
                time.sleep(0.01)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.exit_code = self._process.wait()
        os.close(self._reader)


def _report(letter: DeadLetter, spec: TaskSpec, process: _Process, folder: Path) -> Rehearsal:
    output = (folder / "output").read_text("utf-8", "replace").strip()[-OUTPUT_CHARS:]
    if process.began_at is None:
        raise RehearsalUnavailable(f"the sandbox did not start: {output.rpartition(chr(10))[2] or 'it said nothing'}")
    (end,) = process.all("end") or [{"seconds": process.ended_at - process.began_at, "outcome": _lost(process, spec)}]
    refused = list(dict.fromkeys(line["act"] for line in process.all("refused")))
    verdict: Literal["passed", "failed"] = "passed" if end["outcome"]["succeeded"] else "failed"
    return Rehearsal(
        letter_id=letter.pk,
        task=spec.name,
        verdict="unclear" if refused else verdict,
        seconds=round(end["seconds"], 3),
        outcome=end["outcome"],
        original={
            "reason": letter.reason,
            "error_type": letter.error_type,
            "error": letter.error,
            "summary": error_summary(letter.error_type, letter.error),
            "traceback": letter.traceback,
            "attempt": letter.attempt,
            "died_at": letter.died_at.isoformat(),
        },
        mails=process.all("mail"),
        messages=process.all("message"),
        files=_written(folder / "files"),
        rows=_rows(process.all("rows")),
        jobs=process.all("job"),
        log=process.all("log"),
        refused=refused,
        programs=[line["command"] for line in process.all("program")],
        output=output,
    )


def _lost(process: _Process, spec: TaskSpec) -> dict[str, Any]:
    """The outcome that it did not come to tell."""
    if process.timed_out:
        limit = min(spec.time_limit_seconds, MOST_SECONDS)
        kind, error, reason = "TimeLimitExceeded", f"ran longer than {limit:g} s and was killed", "time_limit"
    else:
        code = process.exit_code or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        kind, error, reason = "WorkerLostError", f"its process ended with {how}", "worker_lost"
    return {
        "succeeded": False,
        "result": None,
        "cancelled": False,
        "error_type": kind,
        "error": error,
        "traceback": "",
        "retry_in_seconds": None,
        "reason": reason,
    }


def _rows(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last sum told of each table and act."""
    return list({(line["table"], line["act"]): line for line in told}.values())


def _written(folder: Path) -> list[dict[str, Any]]:
    return [
        {"name": str(path.relative_to(folder)), "size_bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


@contextmanager
def _room() -> Iterator[Path]:
    if not _rooms.acquire(blocking=False):
        raise RehearsalUnavailable(f"{MOST_AT_ONCE} rehearsals run here already; try again in a minute")
    try:
        folder = Path(tempfile.mkdtemp(prefix="rehearsal-"))
        try:
            (folder / "temp").mkdir()
            (folder / "files").mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        _rooms.release()


def _databases(folder: Path) -> dict[str, dict[str, Any]]:
    """This process's databases. SQLite has one writer, which would be the rehearsal all the while: that gets a copy."""
    found = {alias: dict(connections[alias].settings_dict) for alias in connections}
    for alias, database in found.items():
        if connections[alias].vendor == "sqlite":
            database["NAME"] = _copied(str(database["NAME"]), folder / f"{alias}.db")
    return found


def _copied(name: str, copy: Path) -> str:
    source, target = sqlite3.connect(name, uri=name.startswith("file:")), sqlite3.connect(copy)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()
    return str(copy)
