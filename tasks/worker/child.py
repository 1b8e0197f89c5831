"""What each child of the pool does when it starts."""

import os
import signal
from typing import Any

from celery.signals import task_postrun, task_prerun, worker_process_init

MAIN = os.getpid()  # imported before the pool forks


@worker_process_init.connect
def begin_life(**_: Any) -> None:
    """Lead a process group of its own, and leave the end of what runs to the main process.

    In a group of its own, a child is killed together with whatever it has started; Celery's pool does so at the hard
    time limit. And a supervisor that sends SIGTERM to every process of a service, as systemd does by default, would
    fail what runs: the pool turns it into SystemExit, which idle children may well obey.
    """
    if os.getpid() == MAIN:  # a pool of one runs in the main process, whose signals are shutdown.py's
        return
    os.setpgid(0, 0)
    task_prerun.connect(_ignore_stop, weak=False)
    task_postrun.connect(_obey_stop, weak=False)


_obeyed: list[Any] = []


def _ignore_stop(**_: Any) -> None:
    # A function and not SIG_IGN, which a program that the task starts would inherit.
    _obeyed.append(signal.signal(signal.SIGTERM, lambda number, frame: None))


def _obey_stop(**_: Any) -> None:
    if _obeyed:
        signal.signal(signal.SIGTERM, _obeyed.pop())
