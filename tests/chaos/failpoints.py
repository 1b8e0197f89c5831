"""Places where a process kills itself with SIGKILL, at the one moment that no fault from outside would ever hit.

A scenario arms one by making a file of its name; the first process that gets there puts its process id on it and dies.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compose.private import pids

AFTER_COMMIT = "die-after-commit"
BETWEEN_MESSAGES = "die-between-messages"
BEFORE_ACK = "die-before-ack"
COLLECTED = "die-when-collected"
NAMES = (AFTER_COMMIT, BETWEEN_MESSAGES, BEFORE_ACK, COLLECTED)


def arm(directory: Path, name: str) -> None:
    (directory / name).touch()


def struck(directory: Path, name: str) -> bool:
    """Whether a process got there since it was armed, and is gone."""
    victims = [int(path.suffix[1:]) for path in directory.glob(f"{name}.*")]
    return not (directory / name).exists() and not pids.table().keys() & victims


def reach(name: str) -> None:
    """Die here, if that is wanted."""
    try:
        armed = Path(os.environ["CHAOS_DIRECTORY"], name)
        armed.rename(armed.with_suffix(f".{os.getpid()}"))
    except (KeyError, FileNotFoundError):
        return
    os.kill(os.getpid(), signal.SIGKILL)


def install() -> None:
    """Put the places into this process. Each wraps one function where it is looked up."""
    from tasks import publisher
    from tasks.worker import collector, relay
    from tasks.worker.settling import Settling

    publisher.publish = _first(AFTER_COMMIT, publisher.publish)
    relay._publish = _between_messages(relay._publish)
    Settling._on_committed = _first(BEFORE_ACK, Settling._on_committed)
    collector.collect = _last(COLLECTED, collector.collect)


def _first(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **options: Any) -> Any:
        reach(name)
        return function(*args, **options)

    return wrapped


def _last(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        reach(name)
        return result

    return wrapped


def _between_messages(publish: Callable[..., Any]) -> Callable[..., Any]:
    """Send the first half of the batch, then reach the place."""

    def wrapped(broker: Any, jobs: Any) -> None:
        if jobs:
            half = len(jobs) // 2
            publish(broker, jobs[:half])
            reach(BETWEEN_MESSAGES)
            publish(broker, jobs[half:])

    return wrapped
