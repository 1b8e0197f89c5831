"""A worker that looks alive and consumes nothing: idle, with messages waiting in its queues."""

import logging
import time
from collections.abc import Sequence

from tasks.brokers import Broker, QueueMissing

logger = logging.getLogger(__name__)


class Watchdog:
    """Barks when no message came for ``limit_seconds`` though there was room for one and there were messages.

    Every look must agree: one that finds the queues empty, the slots taken, a message just arrived or the broker away
    begins the count anew.
    """

    def __init__(self, limit_seconds: float):
        self._limit_seconds = limit_seconds
        self._since: float | None = None
        self._arrived = -1

    def look(self, *, arrived: int, room: bool, backlog: int, now: float | None = None) -> bool:
        """Whether the worker is stuck. ``arrived`` counts all messages that ever came, ``now`` is a monotonic time."""
        now = time.monotonic() if now is None else now
        waiting_in_vain = room and backlog > 0 and arrived == self._arrived
        self._arrived = arrived
        if not waiting_in_vain:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= self._limit_seconds

    def forget(self) -> None:
        """Nobody could look: begin anew."""
        self._since = None


def backlog(broker: Broker, queues: Sequence[str]) -> int:
    """Messages ready in ``queues``. Raises BrokerUnavailable; a queue that is missing holds none."""
    total = 0
    for queue in queues:
        try:
            total += broker.depth(queue)
        except QueueMissing:
            continue
    return total
