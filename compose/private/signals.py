"""Asked to stop: once is politely, twice is at once.

The handler only counts. Raising from it could strike between the start of a process and the note of its pid, and that
process would outlive us; so every wait of ours polls instead.
"""

import signal
from types import FrameType

_received: list[signal.Signals] = []


class Stopped(Exception):
    """A signal asked for the end while something was still being started."""


def listen() -> None:
    """From here on SIGINT, SIGTERM and SIGHUP (a closed terminal) are counted instead of ending the interpreter."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _note)


def requested() -> bool:
    return bool(_received)


def hurried() -> bool:
    return len(_received) > 1


def only_to_us() -> bool:
    """Whether the terminal has not told our foreground children already, as it does for Ctrl-C."""
    return bool(_received) and _received[0] is not signal.SIGINT


def hang_up() -> None:
    """Nobody is reading any more: the same as a first signal."""
    if not _received:
        _received.append(signal.SIGHUP)


def check() -> None:
    """Raises Stopped once a signal has come."""
    if requested():
        raise Stopped


def _note(number: int, frame: FrameType | None) -> None:
    _received.append(signal.Signals(number))
