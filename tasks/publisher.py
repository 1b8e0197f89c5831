"""Messages out, confirms in: one background thread and one connection per process.

The rows are the outbox. Whoever enqueues never waits for the broker and never fails with it: what this thread can not
deliver, or forgets when its process dies, the relay in the workers finds missing and publishes (worker/relay.py).
"""

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from django.conf import settings

from tasks import brokers
from tasks.brokers import Broker, JobMessage
from tasks.errors import BrokerUnavailable

logger = logging.getLogger(__name__)

BATCH = 500
MOST_WAITING = 20_000  # beyond that, older messages are left to the relay: rows cost no memory here
LONGEST_PAUSE_SECONDS = 5.0
REFUSED_PAUSE_SECONDS = 0.5


_Waiting = tuple[float, JobMessage]  # since when, by the monotonic clock


class Publisher:
    """Publishes in the background, in order, as often as it takes."""

    def __init__(self, connect: Callable[[], Broker] = brokers.connect):
        self._connect = connect
        self._waiting: deque[_Waiting] = deque(maxlen=MOST_WAITING)
        self._changed = threading.Condition()
        self._in_flight = 0
        self._thread: threading.Thread | None = None

    def publish(self, messages: Iterable[JobMessage]) -> None:
        """Take ``messages`` over and return at once. Never raises."""
        with self._changed:
            now = time.monotonic()
            self._waiting.extend((now, message) for message in messages)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until everything taken over is confirmed or left to the relay. False when the time ran out first."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._in_flight, timeout=timeout_seconds)

    def _run(self) -> None:
        broker = self._connect()
        pause_seconds = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                waiting = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                self._in_flight = len(waiting)
            batch = [message for _, message in waiting]
            try:
                confirmed = _publish(broker, batch)
            except BrokerUnavailable as error:
                # An idle connection that died is found out here: the first new try comes at once.
                if pause_seconds:
                    logger.warning("%d job messages wait: %s", len(batch), error)
                self._put_back(waiting)
                time.sleep(pause_seconds)
                pause_seconds = min(LONGEST_PAUSE_SECONDS, pause_seconds * 2 or 0.25)
                continue
            except Exception:  # a bug must not end the thread: the relay publishes what this batch held
                logger.exception("%d job messages were left to the relay", len(batch))
            else:
                pause_seconds = 0.0
                if refused := [message.id for message in batch if message.id not in confirmed]:
                    logger.warning("the broker refused %d job messages; the relay will try again", len(refused))
            with self._changed:
                self._in_flight = 0
                self._changed.notify_all()

    def _put_back(self, batch: "list[_Waiting]") -> None:
        """But for what has waited for the relay's grace: with the broker back, both would publish it."""
        young = time.monotonic() - settings.TASKS_RELAY_GRACE_SECONDS
        with self._changed:
            self._in_flight = 0
            kept = [waiting for waiting in batch if waiting[0] > young]
            self._waiting.extendleft(reversed(kept[: MOST_WAITING - len(self._waiting)]))
            while self._waiting and self._waiting[0][0] <= young:
                self._waiting.popleft()
            self._changed.notify_all()


def _publish(broker: Broker, batch: list[JobMessage]) -> set[str]:
    """What the broker confirmed at the first or second try: a queue that is just electing its leader refuses all."""
    confirmed = broker.publish(batch)
    if refused := [message for message in batch if message.id not in confirmed]:
        time.sleep(REFUSED_PAUSE_SECONDS)
        confirmed |= broker.publish(refused)
    return confirmed


_publisher = Publisher()


def publish(messages: Iterable[JobMessage]) -> None:
    """Hand ``messages`` to this process's publisher."""
    _publisher.publish(messages)


def flush(timeout_seconds: float = 5.0) -> bool:
    """Wait for this process's publisher; False when the time ran out."""
    return _publisher.flush(timeout_seconds)


def _after_fork() -> None:
    """A forked child has no thread and no right to the parent's socket: it starts with a publisher of its own."""
    global _publisher
    _publisher = Publisher()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(flush, 2.0)  # a short-lived command; what is left then is the relay's
