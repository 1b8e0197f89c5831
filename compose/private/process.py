"""One process of ours: in its own session, noted in a pid file, ended by its id and never by its name."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compose.private import pids, signals
from compose.private.problems import Problem

Command = Sequence[str | Path]


class Process:
    """A command that can be started, stopped, killed and frozen, over and over.

    It writes to its own log file and not to a pipe of ours: a paused terminal or a killed launcher must not stop a
    worker in the middle of a line.
    """

    def __init__(
        self,
        name: str,
        command: Command,
        *,
        directory: Path,
        environment: Mapping[str, str],
        cwd: Path,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_seconds: float = 20,
    ) -> None:
        self.name = name
        self.command = command
        self.log = directory / "log" / f"{name}.log"
        self.grace_seconds = grace_seconds
        self.started_at = 0.0
        self._pid_file = directory / "run" / f"{name}.pid"
        self._environment = environment
        self._cwd = cwd
        self._user = user
        self._stop_signal = stop_signal
        self._child: subprocess.Popen[bytes] | None = None
        self._record: pids.Record | None = None

    @property
    def pid(self) -> int | None:
        """None while it is not running."""
        return self._child.pid if self._child and self.is_alive() else None

    @property
    def exit_code(self) -> int | None:
        """Minus the signal's number for one that a signal ended; None while it runs and before its first start."""
        return self._child.poll() if self._child else None

    def is_alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.command,
                cwd=self._cwd,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the launcher alone, which then ends things in their order
                **as_user(self._user),
            )
        self.started_at = time.monotonic()
        self._record = pids.write_record(self._pid_file, self._child.pid, self._stop_signal)

    def ask_to_stop(self) -> None:
        """Send the signal for an end in good order and return at once."""
        self.thaw()
        if pid := self.pid:
            pids.send([pid], self._stop_signal)

    def stop(self) -> None:
        """Ask, wait for the grace period, kill. A second signal to the launcher cuts the wait short."""
        self.ask_to_stop()
        deadline = time.monotonic() + self.grace_seconds
        while self.is_alive() and time.monotonic() < deadline and not signals.hurried():
            time.sleep(0.05)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for it and everything below it; returns once it is gone."""
        if self._child is None:
            return
        self._send(signal.SIGKILL)
        self._child.wait()
        self._pid_file.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Stop the clock of the whole family: its connections stay open and nobody answers."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def last_lines(self, count: int = 15) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-count:])

    def _send(self, number: signal.Signals) -> None:
        if self._record:
            pids.send(pids.family(self._record), number)


def wait_until(
    ready: Callable[[], bool], process: Process, *, seconds: float = 60, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Return once ``ready()``. Problem with the log's end when the process dies or time is up; Stopped on a signal."""
    deadline = time.monotonic() + seconds
    while not ready():
        signals.check()
        meanwhile()
        late = time.monotonic() > deadline
        if late or not process.is_alive():
            end = f"is not ready after {seconds:.0f} s" if late else f"ended with {process.exit_code} while starting"
            raise Problem(f"{process.name} {end}. The last lines of {process.log}:\n\n{process.last_lines()}")
        time.sleep(0.1)


def run(command: Command, *, cwd: Path, environment: Mapping[str, str] | None = None, quiet: bool = False) -> int:
    """Run a command on our own terminal and return its exit code; ``quiet`` shows its complaints alone.

    A signal that reached only us is passed on. After any signal the command has half a minute to end.
    """
    child = subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL if quiet else None)
    asked_at = None
    while (code := _wait(child)) is None:
        if signals.requested() and asked_at is None:
            asked_at = time.monotonic()
            if signals.only_to_us():
                child.send_signal(signal.SIGINT)  # pytest and pip tidy up after SIGINT, and just die of SIGTERM
        if signals.hurried() or (asked_at and time.monotonic() > asked_at + 30):
            child.kill()
    return code


def as_user(name: str | None) -> dict[str, Any]:
    """Arguments for subprocess that give up root for an account without privileges; none for None."""
    return {"user": name, "group": name, "extra_groups": []} if name else {}


def clean_environment(**values: str) -> dict[str, str]:
    """What a server needs and nothing that the caller's shell happens to export."""
    kept = {key: os.environ[key] for key in ("PATH", "TMPDIR", "TZ") if key in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8" if os.uname().sysname == "Linux" else "en_US.UTF-8", **values}


def _wait(child: subprocess.Popen[bytes]) -> int | None:
    try:
        return child.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        return None
