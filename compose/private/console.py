"""What a person sees: our own words, and the processes' lines with their names in front."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from compose.private import signals

COLOURS = (36, 32, 33, 35, 34, 31)


def say(text: str) -> None:
    _print_line("platform", text, 1)


class Follower:
    """Prints what is added to log files, each line under its file's name in its colour."""

    def __init__(self, logs: Sequence[Path]) -> None:
        self._logs = logs
        self._read: dict[Path, int] = {log: log.stat().st_size if log.exists() else 0 for log in logs}

    def poll(self) -> bool:
        """Print the complete lines since the last call. Whether there were any."""
        printed = False
        for number, log in enumerate(self._logs):
            if not log.exists():
                continue
            with log.open("rb") as file:
                file.seek(self._read[log])
                complete = file.read().rpartition(b"\n")[0]
            if complete:
                printed = True
                self._read[log] += len(complete) + 1
                for line in complete.decode(errors="replace").splitlines():
                    _print_line(log.stem, line, COLOURS[number % len(COLOURS)])
        return printed


def _print_line(name: str, text: str, colour: int) -> None:
    label = f"{name:>12}"
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:  # no-color.org
        label = f"\033[{colour}m{label}\033[0m"
    try:
        print(label, "|", text, flush=True)
    except OSError:  # the terminal was closed, and not every shell says so with SIGHUP
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  there is still work to do before the end
        signals.hang_up()
