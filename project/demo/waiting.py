"""Waiting for conditions, never for seconds."""

import time
from collections.abc import Callable

LONGEST_WAIT_SECONDS = 60.0


def wait_for(condition: Callable[[], bool], what: str, timeout_seconds: float = LONGEST_WAIT_SECONDS) -> None:
    """Return once ``condition()`` holds. AssertionError naming ``what`` when it does not within the time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_seconds:g} s in vain for {what}"
        time.sleep(0.05)
