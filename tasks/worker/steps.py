"""The worker's side threads: signs of life, supervision, relay, chores and collector. Started after the pool."""

import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from celery import bootsteps
from celery.signals import worker_shutdown
from celery.worker import state
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.db.backends.signals import connection_created

from tasks import brokers, queues
from tasks.brokers import Broker, DeadMessage
from tasks.dead_letters import grouping, operations, regressions
from tasks.errors import BrokerUnavailable
from tasks.job_events import feed, sinks
from tasks.webhooks import outbox
from tasks.worker import child, collector, relay, replies, supervision  # noqa: F401  child listens to a signal
from tasks.worker.shutdown import Shutdown
from tasks.worker.watchdog import Watchdog, backlog
from tasks.worker.witness import Witness

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
PAUSE_SECONDS = 2.0
JOIN_SECONDS = 5.0
HEARTBEAT_SECONDS = 2.0
PAUSES_SECONDS = 0.75  # and a tick: about once a second
EVENTS_SECONDS = 0.25
REPLY_SECONDS = 0.05
IDLE_REPLY_SECONDS = 0.5
REPLY_CALM_SECONDS = 60.0
LOCK_WAIT_MILLISECONDS = 2000


class SideThreads(bootsteps.StartStopStep):
    """Registers this worker and keeps seven threads, so that none waits for what another waits for."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **_: Any):
        worker.worker_process = None
        worker.paused = frozenset()  # the queues that are; another set once that has changed
        worker.marks = relay.ClaimMarks()
        worker.witness = Witness()  # before the pool forks: it shares memory with the children
        worker.shutdown = Shutdown(worker, settings.TASKS_SHUTDOWN_GRACE_SECONDS)
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, worker: Any) -> None:
        worker.worker_process = self._register(worker)
        _spare_the_collector()
        worker.shutdown.listen()
        worker_shutdown.connect(lambda **_: self._end(worker), weak=False)  # sent last, after a warm or a cold stop
        connection_created.connect(_bound_lock_waits, dispatch_uid="worker")
        connection.close()  # the next one is bounded
        told = sinks.configured()  # here, since a package that is missing ends the worker
        threading.Thread(target=self._watch, args=[worker], name="watch", daemon=True).start()
        for name, run in (
            ("heartbeat", lambda: self._heartbeat(worker)),
            ("supervision", lambda: self._supervision(worker)),
            ("clockwork", lambda: self._clockwork(worker)),
            ("collector", self._collector),
            ("job events", lambda: self._job_events(told)),
            ("replies", self._replies),
        ):
            thread = threading.Thread(target=run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, worker: Any) -> None:
        """Not yet: the pool still drains, and its attempts need this worker's signs of life. See ``_end``."""
        if not worker.shutdown.asked:  # by remote control, say: the same budget begins
            worker.shutdown.ask()

    def terminate(self, worker: Any) -> None:
        """See ``stop``."""

    def _end(self, worker: Any) -> None:
        self._stopped.set()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            thread.join(timeout=max(0, deadline - time.monotonic()))
        if worker.worker_process is not None:
            worker.shutdown.finish()

    def _register(self, worker: Any) -> Any:
        consumed = sorted(worker.app.amqp.queues.consume_from)
        pool = type(worker.pool).__module__.rsplit(".", 1)[-1]
        concurrency = worker.max_concurrency or worker.concurrency
        while True:
            state.maybe_shutdown()
            try:
                _look_at_pauses(worker)  # before it consumes anything
                return supervision.register_worker(worker.hostname, consumed, pool=pool, concurrency=concurrency)
            except (DatabaseError, InterfaceError) as error:
                connection.close()
                logger.warning("waiting for the database: %s", str(error).strip())
                time.sleep(PAUSE_SECONDS)

    def _heartbeat(self, worker: Any) -> None:
        """Alone: no broker that hangs may keep this worker from saying that it lives, and from hearing of a pause."""
        self._repeat(
            _Chore(HEARTBEAT_SECONDS, lambda: supervision.beat(worker.worker_process)),
            _Chore(PAUSES_SECONDS, lambda: _look_at_pauses(worker)),
        )

    def _watch(self, worker: Any) -> None:
        """Until the process ends; asks neither database nor broker before that, and keeps its time whatever hangs."""
        sample = _Chore(0.5, lambda: worker.witness.sample(_children(worker.consumer)))
        while True:
            time.sleep(TICK_SECONDS)
            sample.run_if_due()
            worker.shutdown.watch()

    def _supervision(self, worker: Any) -> None:
        """Asks the database alone: a broker that takes nothing must not keep lost workers from being noticed."""
        silence, forgotten = supervision.Silence(), supervision.Forgotten()
        self._repeat(
            _Chore(3.0, lambda: supervision.record_lost_attempts(silence, worker.worker_process)),
            _Chore(5.0, lambda: forgotten.record(worker.worker_process, worker.consumer.in_hand)),
            _Chore(5.0, regressions.reopen),
            _Chore(2.0, grouping.adopt),
        )

    def _clockwork(self, worker: Any) -> None:
        broker = brokers.connect()
        pace = relay.Pace()
        watchdog = Watchdog(settings.TASKS_IDLE_RESTART_SECONDS)
        self._repeat(
            _Chore(0.5, lambda: relay.publish_due(broker)),
            _Chore(0.5, operations.advance),
            _Chore(1.0, outbox.advance),
            _Chore(3.0, lambda: relay.publish_missing(broker, worker.marks, pace)),
            _Chore(3.0, lambda: _look_after(worker, watchdog, broker)),
        )
        broker.close()

    def _collector(self) -> None:
        broker = brokers.connect()
        self._repeat(
            _Chore(PAUSE_SECONDS, lambda: broker.consume_dead(self._collect, keep_going=self._goes_on)),
        )
        broker.close()

    def _job_events(self, told: Iterable[feed.Sink]) -> None:
        """A sink that is away holds up nothing but itself."""
        self._repeat(*(_Chore(EVENTS_SECONDS, partial(feed.advance, sink)) for sink in told))

    def _replies(self) -> None:
        """Looks often while somebody waits, since the pause is part of every answer."""
        broker = brokers.connect()
        pace = _ReplyPace(broker)
        self._repeat(_Chore(0, pace.turn), tick_seconds=REPLY_SECONDS)
        broker.close()

    def _collect(self, dead: DeadMessage) -> None:
        """Wait with the message in hand while the database is away: to give it back would count as a delivery."""
        while True:
            try:
                return collector.collect(dead)
            except (OperationalError, InterfaceError) as error:
                connection.close()
                if not self._goes_on():
                    raise
                logger.warning("a dead message waits for the database: %s", str(error).strip())
                self._stopped.wait(PAUSE_SECONDS)

    def _repeat(self, *chores: "_Chore", tick_seconds: float = TICK_SECONDS) -> None:
        """Until the worker ends."""
        while not self._stopped.wait(tick_seconds):
            for chore in chores:
                chore.run_if_due()
        connection.close()

    def _goes_on(self) -> bool:
        return not self._stopped.is_set()


def _look_at_pauses(worker: Any) -> None:
    """What the consumer heeds at its next look, in the main thread. While the database is away what was known stays."""
    worker.paused = queues.paused_names()


def _children(consumer: Any) -> list[tuple[str, int]]:
    """(attempt id, process id) of what the pool runs."""
    return [(request.id, request.worker_pid) for request in consumer.attempts_in_hand if request.worker_pid]


def _look_after(worker: Any, watchdog: Watchdog, broker: Broker) -> None:
    """Start this worker anew when it should be consuming and is not."""
    consumer = worker.consumer
    if not settings.TASKS_IDLE_RESTART_SECONDS or worker.shutdown.asked:
        return
    # What is held is no fault of the broker's: it waits for the database, and its messages fill the window.
    holds = consumer.holds_messages or consumer.holds_outcomes
    room = not holds and len(consumer.attempts_in_hand) < worker.concurrency
    try:
        waiting = backlog(broker, _consumed(consumer)) if room else 0
    except BrokerUnavailable:
        watchdog.forget()
        raise
    if watchdog.look(arrived=consumer.messages_arrived, room=room, backlog=waiting):
        logger.critical(
            "%d messages wait, and none has come for %g s: starting anew", waiting, settings.TASKS_IDLE_RESTART_SECONDS
        )
        worker.shutdown.ask(restart=True)


def _consumed(consumer: Any) -> list[str]:
    """The queues that this worker takes itself to be consuming, so none that is paused; none while it connects."""
    return [queue.name for queue in consumer.task_consumer.queues] if consumer.task_consumer else []


def _spare_the_collector() -> None:
    """What is loaded by now stays for good: the garbage collector need not go through it again and again. And jobs come
    by the hundred, all of whose objects live for a moment only."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _bound_lock_waits(sender: Any, connection: Any, main: int = os.getpid(), **_: Any) -> None:
    """In the main process nobody waits long for a row that user code holds: the outcome is held instead.

    Pool children keep the database's own rule, which is to wait.
    """
    if connection.vendor == "postgresql" and os.getpid() == main:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {LOCK_WAIT_MILLISECONDS}")


class _ReplyPace:
    """Sends what is owed, at every turn while anybody asks for replies, and seldom after a calm."""

    def __init__(self, broker: Broker):
        self._broker = broker
        self._asked_at = -REPLY_CALM_SECONDS
        self._looked_at = 0.0

    def turn(self) -> None:
        now = time.monotonic()
        if now - self._asked_at > REPLY_CALM_SECONDS and now - self._looked_at < IDLE_REPLY_SECONDS:
            return
        self._looked_at = now
        while (sent := replies.send_owed(self._broker)) == replies.BATCH:
            pass
        if sent or replies.are_owed():
            self._asked_at = now


class _Chore:
    """Something to do every ``seconds``. Whatever fails is logged and tried again; the others go on."""

    def __init__(self, seconds: float, run: Callable[[], Any]):
        self._seconds = seconds
        self._run = run
        self._next = 0.0

    def run_if_due(self) -> None:
        if time.monotonic() < self._next:
            return
        try:
            self._run()
        except (DatabaseError, InterfaceError, BrokerUnavailable) as error:
            connection.close()
            logger.warning("%s", str(error).strip())
        except Exception:
            connection.close()
            logger.exception("a chore of the worker failed")
        self._next = time.monotonic() + self._seconds
