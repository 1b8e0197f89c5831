"""What each child of the pool does when it starts, and while it runs a turn."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery.signals import worker_process_init

MAIN = os.getpid()  # imported before the pool forks


@worker_process_init.connect
def begin_life(**_: Any) -> None:
    """Lead a process group of its own: the child is killed together with whatever it has started. Celery's pool does so
    at the hard time limit."""
    if os.getpid() != MAIN:  # a pool of one runs in the main process
        os.setpgid(0, 0)


@contextmanager
def sheltered() -> Iterator[None]:
    """Leave the end of what runs to the main process.

    A supervisor that sends SIGTERM to every process of a service, as systemd does by default, would fail it: the pool
    turns the signal into SystemExit, which idle children may well obey.
    """
    if os.getpid() == MAIN:  # a pool of threads, or of one: the signals are shutdown.py's
        yield
        return
    # A function and not SIG_IGN, which a program that the task starts would inherit.
    obeyed = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, obeyed)
