"""Celery's consumer, hardened: garbage becomes a dead letter, a duplicate is dropped, the rest is claimed and run."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from celery.bootsteps import RUN
from celery.exceptions import WorkerShutdown
from celery.utils.log import get_logger
from celery.worker import state
from celery.worker.consumer import Consumer
from django.db import connection

from tasks import brokers
from tasks.brokers import TopologyMismatch
from tasks.brokers.rabbitmq.reading import read_received
from tasks.errors import BrokerUnavailable
from tasks.models import Job, WorkerProcess
from tasks.topology import PRIORITY_QUEUE, TOPOLOGY
from tasks.worker.arrivals import Arrivals, Arrived
from tasks.worker.claiming import Answer, Claim, claim, hand_back
from tasks.worker.deliveries import Deliveries
from tasks.worker.envelope import Envelope, WrongMessage, read_envelope
from tasks.worker.foreign import Foreign, is_foreign, queue_of
from tasks.worker.journal import PAGES
from tasks.worker.recording import OUTAGE
from tasks.worker.request import AttemptRequest, Ending
from tasks.worker.settling import Settling
from tasks.worker.turns import Line, Turn
from tasks.worker.window import Window

logger = get_logger(__name__)

PRIORITY_EXCHANGE = TOPOLOGY.queue(PRIORITY_QUEUE).exchange
DATABASE_PAUSE_SECONDS = 1.0
LOOK_SECONDS = 0.25
EVENTS_PAUSE_SECONDS = 0.1
STOPPED = "the worker was stopped before it began"
PAUSED = "its queue was paused before it began"


class JobConsumer(Consumer):
    """What the worker's main process does with each message, in the order a message meets it."""

    class Blueprint(Consumer.Blueprint):
        # Stock: any quorum queue makes the worker declare 28 queues and 29 exchanges for delays that we never send.
        default_steps = [step for step in Consumer.Blueprint.default_steps if "delayed_delivery" not in step]

    def __init__(self, *args: Any, worker_options: dict[str, Any] | None = None, **kwargs: Any):
        # Both only serve worker-to-worker chatter, and turn a half-open connection into a worker that hangs.
        options = {**(worker_options or {}), "without_gossip": True, "without_mingle": True}
        self._arrivals = Arrivals()
        self._will_claim = False
        self._deliveries = Deliveries((), several_at_once=False)
        self._foreign = Foreign(soon=self._soon, later=self._later, deliveries=lambda: self._deliveries)
        self._settling = Settling(soon=self._while_running, deliveries=lambda: self._deliveries)
        self._line = Line(
            start=self._start,
            slots=self._slots,
            soon=self._soon,
            on_endings=self._on_endings,
            on_free_slot=self._on_free_slot,
        )
        self.messages_arrived = 0
        super().__init__(*args, worker_options=options, **kwargs)

    @property
    def worker(self) -> WorkerProcess:
        return self.controller.worker_process

    def connect(self) -> Any:
        """Connected, and every queue is in place: workers need no separate set-up."""
        connected = super().connect()
        broker = brokers.connect()
        try:
            for line in broker.apply_topology():
                logger.info("topology: %s", line)
        except TopologyMismatch as error:
            logger.critical(
                "The broker holds other declarations than this build: %s. Compare with `manage.py topology check`; "
                "drain and delete what differs, then start the worker again.",
                error,
            )
            raise WorkerShutdown(1) from None
        except BrokerUnavailable as error:
            raise ConnectionError(str(error)) from error  # Celery's own retry begins anew
        finally:
            broker.close()
        self._reads_itself = bool(self.hub) and connected.transport.driver_type == "amqp"
        if self._reads_itself:
            self.hub.add_reader(connected.connection.sock, read_received, connected.connection)
        return connected

    # Messages in.

    def create_task_handler(self, *_: Any, **__: Any) -> Any:
        """What is called with each message that arrives. Asked for once a connection."""
        amqp = self.connection.transport.driver_type == "amqp"
        self._deliveries = Deliveries(self.connection_errors, several_at_once=amqp)
        self._arrivals.drop()  # of an earlier connection: they are delivered again
        self._foreign.drop()
        self._will_claim = False  # a loop that failed may have lost its timers
        self._window = Window(max(1, self.initial_prefetch_count))  # 0 is AMQP's word for "all there are"
        self._looked_at = time.monotonic()
        for name in self.controller.paused:
            self.task_consumer.cancel_by_queue(name)  # before it has begun to consume
        self.timer.call_repeatedly(LOOK_SECONDS, self._look_around)
        return self._on_message

    def _on_message(self, message: Any) -> None:
        self.messages_arrived += 1
        self._deliveries.add(message)
        if is_foreign(message.headers):
            self._foreign.add(message, self._queue_of(message))
            return
        try:
            redelivered = bool(message.delivery_info.get("redelivered"))
            envelope = read_envelope(message.headers, message.body, message.content_type, redelivered=redelivered)
        except WrongMessage as wrong:
            self._reject(message, str(wrong))
        except Exception as error:
            self._reject(message, repr(error))
        else:
            urgent = message.delivery_info.get("exchange") == PRIORITY_EXCHANGE
            self._arrivals.add(Arrived(envelope, message), urgent=urgent)
            if not self._will_claim:
                self._will_claim = True
                self._soon(self._claim_waiting)

    def _queue_of(self, message: Any) -> str:
        return queue_of(message, {tag: queue for queue, tag in self.task_consumer._active_tags.items()})

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Stock acknowledges what it can not decode, which loses it."""
        self._deliveries.add(message)
        self._reject(message, repr(exc))

    def _reject(self, message: Any, why: str) -> None:
        logger.error("message dead-lettered: %s", why)
        self._deliveries.reject(message)

    # Claims.

    def _claim_waiting(self) -> None:
        """Claim as many messages as there is room for; with the database away, hold them and try again."""
        self._will_claim = False
        self._heed_pauses()
        while not self.controller.shutdown.asked and (asked := self._next_to_claim()):
            try:
                claims = self._claim([arrived.envelope for arrived in asked])
            except OUTAGE as error:
                connection.close()
                self._arrivals.put_back(asked)
                logger.warning("%d messages wait for the database: %s", len(self._arrivals), str(error).strip())
                self._will_claim = True
                self._later(DATABASE_PAUSE_SECONDS, self._claim_waiting)
                return
            self._act_on(claims, asked)

    def _next_to_claim(self) -> list[Arrived]:
        line = self._line
        return self._arrivals.take(room=line.room(), free_slots=line.free_slots, share=line.pace.share)

    def _claim(self, envelopes: list[Envelope]) -> list[Claim]:
        """As ``claim``; where one row is more than the code can take, the others do not suffer with it."""
        try:
            return claim(envelopes, self.worker, in_hand=self.in_hand)
        except OUTAGE:
            raise
        except Exception as error:
            if len(envelopes) > 1:
                return [claimed for envelope in envelopes for claimed in self._claim([envelope])]
            logger.exception("job %s.%d can not be claimed", envelopes[0].job_id, envelopes[0].attempt)
            return [Claim(Answer.REJECT, why=f"can not be claimed: {error!r}")]

    def _act_on(self, claims: list[Claim], asked: list[Arrived]) -> None:
        requests, dropped = [], []
        for (envelope, message), claimed in zip(asked, claims, strict=True):
            if claimed.answer is Answer.RUN and claimed.job is not None:
                self.controller.marks.note(claimed.job)
                requests.append(self._request(claimed.job, claimed.payload, message))
            elif claimed.answer is Answer.DROP:
                logger.info("job %s.%d dropped: it %s", envelope.job_id, envelope.attempt, claimed.why)
                request = self._request_of(envelope.attempt_id)
                if request is not None and request.message not in self._deliveries:
                    request.adopt(message)
                else:
                    dropped.append(message)
            else:
                self._reject(message, f"job {envelope.job_id}.{envelope.attempt} {claimed.why}")
        self._deliveries.acknowledge(dropped)
        self._line.join(requests)

    def _request(self, job: Job, payload: str, message: Any) -> AttemptRequest:
        request = AttemptRequest(
            message,
            job,
            payload,
            share=self._line.pace.share(job.task),
            witness=self.controller.witness,
            app=self.app,
            hostname=self.hostname,
            eventer=self.event_dispatcher,
            task=self.app.tasks[job.task],
            connection_errors=self.connection_errors,
        )
        request.tell_received()
        state.task_reserved(request)
        return request

    # Attempts.

    def _slots(self) -> int:
        """How many turns the pool runs at once; a worker that is stopping begins none."""
        if self.controller.shutdown.asked:
            return 0
        return min(PAGES, max(self.controller.max_concurrency or 0, self.pool.num_processes))

    def _start(self, turn: Turn) -> None:
        self.on_task_request(turn)

    def _on_free_slot(self) -> None:
        self._claim_waiting()
        if self.controller.shutdown.asked:
            self._give_away(self._line.leave(), why=STOPPED)

    def _look_around(self) -> None:
        """What waits behind something long is run by another slot, and where none is free by another worker."""
        self._heed_pauses()
        now = time.monotonic()
        late, self._looked_at = now - self._looked_at > 4 * LOOK_SECONDS, now
        if late:  # this thread was held up, and has not heard of what ended meanwhile
            return
        self._line.unstick()
        if self._line.is_stuck:
            self._give_away(self._line.leave(), why="what runs before it turned out long")
        share = self._line.largest_share()
        if share is not None and self._window.fit(slots=self._slots() or 1, share=share):
            self._consume_anew()

    def _consume_anew(self) -> None:
        """With the window's new size: RabbitMQ applies it to consumers that begin after it was told."""
        self.task_consumer.cancel()
        self._return(self._arrivals.drop(keep=self._window.size))
        self.qos.value = self._window.size
        self.qos.update()
        self.task_consumer.consume()
        self._read_on()

    def _read_on(self) -> None:
        """What came together with the broker's latest answer is in the client's hands already."""
        if self._reads_itself:
            self._soon(read_received, self.connection.connection)

    def _heed_pauses(self) -> None:
        """Let go of queues that are paused, with all that has not begun, and take up again those that are no more.

        Messages go back unclaimed. Kept in hand they would hold up the acknowledgement of those after them, reach the
        broker's limit for acknowledging, and run nowhere else once the queue is resumed. It counts as a delivery, which
        the collector knows to mean little.
        """
        paused, consumer = self.controller.paused, self.task_consumer
        if self.blueprint.state != RUN or self.controller.shutdown.asked or consumer is None:
            return
        wanted = self.app.amqp.queues.consume_from  # less what somebody took from this worker by remote control
        consuming = {queue.name for queue in consumer.queues}
        if let_go := consuming & paused:
            for name in let_go:
                consumer.cancel_by_queue(name)
            self._return(self._arrivals.withdraw(TOPOLOGY.exchanges_to(let_go)))
            logger.info("paused: %s; nothing of it begins here", ", ".join(sorted(let_go)))
        if taken_up := wanted.keys() - paused - consuming:
            for name in taken_up:
                consumer.add_queue(wanted[name])
            consumer.consume()
            logger.info("resumed: %s", ", ".join(sorted(taken_up)))
        if let_go or taken_up:
            self._read_on()
        if paused:
            self._give_away(self._line.leave_queues(paused), why=PAUSED)

    def _return(self, messages: Iterable[Any]) -> None:
        for message in messages:
            self._deliveries.reject(message, requeue=True)

    def _give_away(self, requests: list[AttemptRequest], *, why: str) -> None:
        """Hand back what the pool does not run. What can not go, since the database is away or somebody holds its row,
        is in hand still and waits in the line on."""
        if not requests:
            return
        left = {(request.job.pk, request.job.attempt): request for request in requests}
        try:
            back = hand_back(list(left), self.worker, why=why)
            left = {attempt: request for attempt, request in left.items() if attempt in back.held}
        except OUTAGE as error:
            connection.close()
            logger.warning("%d claimed jobs wait on: %s", len(requests), str(error).strip())
        finally:
            for request in left.values():  # Celery may have forgotten it, and its message, coming again, would run too
                state.task_reserved(request)
            self._line.join(left.values())
        gone = [request for request in requests if (request.job.pk, request.job.attempt) not in left]
        for request in gone:
            state.task_ready(request)
        self._deliveries.acknowledge(request.message for request in gone)

    def _on_endings(self, endings: list[Ending]) -> None:
        """Called by the pool, from another thread where it is one of threads.

        A child that is lost while its worker is stopping was most likely stopped with it. Those that we kill ourselves
        at the deadline are handed back all together (shutdown.py).
        """
        for request, outcome in endings:
            state.task_ready(request, successful=outcome.succeeded)
        shutdown = self.controller.shutdown
        lost = [request for request, outcome in endings if outcome.lost and shutdown.asked]
        if lost and not shutdown.interrupts:
            self._give_away(lost, why="its process ended while the worker was stopping")
        self._settling.add(ending for ending in endings if ending[0] not in lost)

    def on_send_event_buffered(self) -> None:
        """Flower hears of many events together, and a job does not wait until it has."""
        self._later(EVENTS_PAUSE_SECONDS, self._flush_events)

    # What other threads ask.

    @property
    def attempts_in_hand(self) -> list[AttemptRequest]:
        """What has been claimed and has not ended, as a copy that other threads may walk through."""
        return [request for request in tuple(state.requests.values()) if isinstance(request, AttemptRequest)]

    @property
    def holds_outcomes(self) -> bool:
        """Whether outcomes wait for the database."""
        return bool(self._settling)

    @property
    def holds_messages(self) -> bool:
        """Whether messages wait to be claimed, or to be accepted."""
        return bool(self._arrivals or self._foreign)

    def _request_of(self, attempt_id: str) -> AttemptRequest | None:
        """The attempt, if this process runs it or holds its outcome."""
        running: AttemptRequest | None = state.requests.get(attempt_id)
        return running or self._settling.request_of(attempt_id)

    def holds_outcome_of(self, attempt_id: str) -> bool:
        """Whether the attempt's outcome waits for the database, or is on the way into it."""
        return self._settling.request_of(attempt_id) is not None

    def in_hand(self, attempt_id: str) -> bool:
        """Whether this process runs that attempt, or holds its outcome."""
        return attempt_id in state.requests or self.holds_outcome_of(attempt_id)

    def salvage(self) -> None:
        """Hear what the turns of children that were killed have left behind."""
        self._line.clear()

    def flush_outcomes(self, timeout_seconds: float) -> bool:
        """Wait until all outcomes are recorded; False when the time ran out."""
        return self._settling.flush(timeout_seconds)

    # Ends.

    def on_close(self) -> None:
        """The connection is gone: what waits for a slot of the pool is forgotten by it and must not stay claimed."""
        super().on_close()
        self._give_away(self._line.forget_unaccepted(), why="the connection to the broker was lost before it began")

    def stop(self) -> None:
        """No message is consumed any more; those that were not claimed, and attempts that have not begun, go to other
        workers now, not when the pool has drained."""
        super().stop()
        self._settling.settle()  # the loop has ended before it came to that
        self._flush_events()
        self._return([*self._foreign.drop(), *self._arrivals.drop()])
        if self.controller.shutdown.asked:
            self._give_away(self._line.clear(), why=STOPPED)

    def shutdown(self) -> None:
        """The pool has drained. The connection is closed after the last outcome, where the time allows: a message that
        it was not acknowledged by then comes again, to another worker."""
        self.flush_outcomes(self.controller.shutdown.seconds_left)
        self._settling.settle()
        self._flush_events()
        super().shutdown()

    def _soon(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call on the loop's own turn, since with a pool of threads the outcome comes from another one; at once when
        the loop has ended and the pool is being emptied."""
        if self.blueprint.state == RUN:
            self.call_soon(call, *arguments)
        else:
            call(*arguments)

    def _while_running(self, call: Callable[[], object]) -> None:
        """As ``_soon``, and not at all once the loop has ended."""
        if self.blueprint.state == RUN:
            self.call_soon(call)

    def _later(self, seconds: float, call: Callable[[], object]) -> None:
        self._soon(self.timer.call_after, seconds, call)
