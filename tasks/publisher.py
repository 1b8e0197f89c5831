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
MOST_IN_FLIGHT = 2000  # sent and not yet answered: what is sent twice after a broken connection
MOST_WAITING = 100_000  # some 40 MB; beyond that, older messages are left to the relay: rows cost no memory here
LONGEST_PAUSE_SECONDS = 5.0
REFUSED_PAUSE_SECONDS = 0.5
TURN_SECONDS = 0.005  # how long a new message may wait for the answer to an earlier one, before it is sent all the same

# A message sent alone costs the broker twice as much as one of ten: a few go at once, those of a flood share a write.
WRITES_PER_SECOND = 100
WRITES_AT_ONCE = 20


_Waiting = tuple[float, JobMessage]  # since when, by the monotonic clock


class Publisher:
    """Publishes in the background, in order, as often as it takes."""

    def __init__(self, connect: Callable[[], Broker] = brokers.connect):
        self._connect = connect
        self._waiting: deque[_Waiting] = deque(maxlen=MOST_WAITING)
        self._in_flight: dict[str, _Waiting] = {}
        self._changed = threading.Condition()
        self._pace = Pace()
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
            try:
                self._turn(broker)
            except BrokerUnavailable as error:
                # An idle connection that died is found out here: the first new try comes at once.
                if pause_seconds:
                    logger.warning("%d job messages wait: %s", len(self._in_flight), error)
                self._land()
                time.sleep(pause_seconds)
                pause_seconds = min(LONGEST_PAUSE_SECONDS, pause_seconds * 2 or 0.25)
            except Exception:  # a bug must not end the thread: the relay publishes what was in flight
                logger.exception("%d job messages were left to the relay", len(self._in_flight))
                self._settle(set(self._in_flight))
                broker.close()  # it may hold answers to what nobody waits for any more
            else:
                pause_seconds = 0.0

    def _turn(self, broker: Broker) -> None:
        """Send what waits, without waiting for the answers to what was sent before, and hear those that are there."""
        if messages := self._take():
            broker.send(messages)
        confirmed, refused = broker.answers(TURN_SECONDS)
        self._settle(confirmed)
        if refused:
            self._try_again(broker, refused)

    def _take(self) -> list[JobMessage]:
        """The next messages to send; none while it is better to wait for answers."""
        with self._changed:
            if not self._in_flight:
                self._changed.wait_for(lambda: self._waiting)
        if delay_seconds := self._pace.delay_seconds():
            if self._in_flight:
                return []
            time.sleep(delay_seconds)
        with self._changed:
            room = min(BATCH, MOST_IN_FLIGHT - len(self._in_flight), len(self._waiting))
            taken = [self._waiting.popleft() for _ in range(room)]
            self._in_flight |= {waiting[1].id: waiting for waiting in taken}
        if taken:
            self._pace.note_write()
        return [message for _, message in taken]

    def _try_again(self, broker: Broker, refused: set[str]) -> None:
        """Once more, by another channel: a queue that is just electing its leader refuses all. The rest is the
        relay's."""
        while self._in_flight.keys() - refused:  # the channel is left once nothing of it is unanswered
            confirmed, also_refused = broker.answers(TURN_SECONDS)
            self._settle(confirmed)
            refused |= also_refused
        time.sleep(REFUSED_PAUSE_SECONDS)
        again = [message for id, (_, message) in self._in_flight.items() if id in refused]
        if left := len(again) - len(broker.publish(again)):
            logger.warning("the broker refused %d job messages; the relay will try again", left)
        self._settle(refused)

    def _settle(self, ids: set[str]) -> None:
        if ids:
            with self._changed:
                for id in ids:
                    self._in_flight.pop(id, None)
                self._changed.notify_all()

    def _land(self) -> None:
        """The connection is lost, and with it the answers."""
        with self._changed:
            in_flight, self._in_flight = [*self._in_flight.values()], {}
            self._put_back(in_flight)
            self._changed.notify_all()

    def _put_back(self, batch: list[_Waiting]) -> None:
        """But for what has waited for the relay's grace: with the broker back, both would publish it."""
        young = time.monotonic() - settings.TASKS_RELAY_GRACE_SECONDS
        kept = [waiting for waiting in batch if waiting[0] > young]
        self._waiting.extendleft(reversed(kept[: MOST_WAITING - len(self._waiting)]))
        while self._waiting and self._waiting[0][0] <= young:
            self._waiting.popleft()


class Pace:
    """WRITES_AT_ONCE writes may follow each other as they come, and WRITES_PER_SECOND in the long run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._left = float(WRITES_AT_ONCE)
        self._at = clock()

    def delay_seconds(self) -> float:
        """How long until the next write may begin."""
        now = self._clock()
        self._left = min(WRITES_AT_ONCE, self._left + (now - self._at) * WRITES_PER_SECOND)
        self._at = now
        return max(0.0, (1 - self._left) / WRITES_PER_SECOND)

    def note_write(self) -> None:
        self._left -= 1


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
