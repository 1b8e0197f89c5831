"""Mechanisms of the platform, broken on purpose: a scenario that none of these turns red is not yet a test.

Each is loaded into workers and web processes alone (apps.py, CHAOS_MUTATION), and replaces one function where it is
looked up.
"""

from collections.abc import Callable
from typing import Any

MUTATIONS: dict[str, Callable[[], None]] = {}


def mutation(break_it: Callable[[], None]) -> Callable[[], None]:
    """Register a breakage under its function's name, with dashes."""
    MUTATIONS[break_it.__name__.replace("_", "-")] = break_it
    return break_it


@mutation
def relay_off() -> None:
    """Nobody looks for missing messages. What is due is still published, or every scenario were red for one reason."""
    from tasks.worker import relay

    relay.publish_missing = lambda *_: 0


@mutation
def supervision_off() -> None:
    """Lost children, silent workers and messages of workers that are gone go unnoticed."""
    from tasks.worker import claiming, supervision
    from tasks.worker.request import AttemptRequest

    supervision.record_lost_attempts = lambda *_: 0
    supervision.Forgotten.record = lambda *_: 0
    claiming.is_gone = lambda *_: False
    AttemptRequest.on_failure = _ignore
    AttemptRequest.on_timeout = _ignore


def _ignore(*_: Any, **__: Any) -> None:
    """In place of a function that would have done something about it."""
