"""Celery's consumer, hardened: garbage becomes a dead letter, a duplicate is dropped, the rest is claimed and run."""

from collections import deque
from contextlib import suppress
from typing import Any

from celery.bootsteps import RUN
from celery.exceptions import WorkerShutdown
from celery.utils.log import get_logger
from celery.worker import state
from celery.worker.consumer import Consumer
from django.db import InterfaceError, OperationalError, connection

from tasks import brokers
from tasks.brokers import TopologyMismatch
from tasks.errors import BrokerUnavailable
from tasks.models import DeadLetter, Job, WorkerProcess
from tasks.states import JobState
from tasks.topology import PRIORITY_QUEUE, TOPOLOGY
from tasks.worker.claiming import Answer, Claim, claim, hand_back
from tasks.worker.envelope import Envelope, WrongMessage, read_envelope
from tasks.worker.outcome import Outcome
from tasks.worker.recording import Ended, record
from tasks.worker.request import AttemptRequest

logger = get_logger(__name__)

PRIORITY_EXCHANGE = TOPOLOGY.queue(PRIORITY_QUEUE).exchange
DATABASE_PAUSE_SECONDS = 1.0
OUTAGE = (OperationalError, InterfaceError)  # the database is away or busy; every other error is a fault


class JobConsumer(Consumer):
    """What the worker's main process does with each message, in the order a message meets it."""

    class Blueprint(Consumer.Blueprint):
        # Stock: any quorum queue makes the worker declare 28 queues and 29 exchanges for delays that we never send.
        default_steps = [step for step in Consumer.Blueprint.default_steps if "delayed_delivery" not in step]

    def __init__(self, *args: Any, worker_options: dict[str, Any] | None = None, **kwargs: Any):
        # Both only serve worker-to-worker chatter, and turn a half-open connection into a worker that hangs.
        options = {**(worker_options or {}), "without_gossip": True, "without_mingle": True}
        self._unclaimed: deque[tuple[Envelope, Any]] = deque()
        self._unrecorded: deque[tuple[AttemptRequest, Outcome]] = deque()
        self._will_try = False
        self._recording: set[str] = set()
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
        return connected

    @property
    def attempts_in_hand(self) -> list[AttemptRequest]:
        """What has been claimed and has not ended, as a copy that other threads may walk through."""
        return [request for request in tuple(state.requests.values()) if isinstance(request, AttemptRequest)]

    @property
    def holds_outcomes(self) -> bool:
        """Whether outcomes wait for the database."""
        return bool(self._unrecorded)

    @property
    def attempts_with_held_outcomes(self) -> set[str]:
        """Ids of the attempts whose outcomes wait for the database, or are on the way into it. Asked from other threads
        as well."""
        return {request.id for request, _ in tuple(self._unrecorded)} | self._recording.copy()

    @property
    def holds_messages(self) -> bool:
        """Whether messages wait to be claimed."""
        return bool(self._unclaimed)

    def in_hand(self, attempt_id: str) -> bool:
        """Whether this process runs that attempt, or holds its outcome. Asked from other threads as well."""
        return attempt_id in state.requests or attempt_id in self.attempts_with_held_outcomes

    def create_task_handler(self, *_: Any, **__: Any) -> Any:
        """What is called with each message that arrives."""
        self._unclaimed.clear()  # of an earlier connection: they are delivered again
        self._will_try = False  # a loop that failed may have lost its timers
        if self._unrecorded:
            self._try_later()

        def on_message(message: Any) -> None:
            self.messages_arrived += 1
            try:
                redelivered = bool(message.delivery_info.get("redelivered"))
                envelope = read_envelope(message.headers, message.body, message.content_type, redelivered=redelivered)
            except WrongMessage as wrong:
                self._reject(message, str(wrong))
            except Exception as error:
                self._reject(message, repr(error))
            else:
                urgent = message.delivery_info.get("exchange") == PRIORITY_EXCHANGE
                (self._unclaimed.appendleft if urgent else self._unclaimed.append)((envelope, message))
                self._claim_waiting()

        return on_message

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Stock acknowledges what it can not decode, which loses it."""
        self._reject(message, repr(exc))

    def on_close(self) -> None:
        """The connection is gone: what waits for a slot of the pool is forgotten by it and must not stay claimed."""
        waiting = [request for request in tuple(state.reserved_requests) if request not in state.active_requests]
        super().on_close()
        try:
            attempts = [(request.job.pk, request.job.attempt) for request in waiting]
            hand_back(attempts, why="the connection to the broker was lost before it began")
        except OUTAGE as error:
            connection.close()
            logger.warning("%d claimed jobs are left to supervision: %s", len(waiting), error)

    def stop(self) -> None:
        """No message is consumed any more; those that were not claimed go to other workers now, not when the pool has
        drained."""
        super().stop()
        while self._unclaimed:
            _, message = self._unclaimed.popleft()
            message.reject_log_error(logger, self.connection_errors, requeue=True)

    def _claim_waiting(self) -> None:
        """Claim as many messages as there are free slots; with the database away, hold them and try again.

        A prefetch window is a queue's, so a worker of eight queues is handed eight times what it can run. What it holds
        beyond its slots stays unclaimed: the relay may give it to an idle worker, and a crash costs it no attempt.
        """
        while self._unclaimed and self._free_slots() > 0 and not self.controller.shutdown.asked:
            waiting = [self._unclaimed.popleft() for _ in range(min(len(self._unclaimed), self._free_slots()))]
            try:
                claims = self._claim([envelope for envelope, _ in waiting])
            except OUTAGE as error:
                connection.close()
                self._unclaimed.extendleft(reversed(waiting))
                logger.warning("%d messages wait for the database: %s", len(self._unclaimed), error)
                self._try_later()
                return
            self._act_on(claims, waiting)

    def _free_slots(self) -> int:
        slots = max(self.controller.max_concurrency or 0, self.pool.num_processes)
        return slots - len(self.attempts_in_hand)

    def _act_on(self, claims: list[Claim], waiting: list[tuple[Envelope, Any]]) -> None:
        for (envelope, message), claimed in zip(waiting, claims, strict=True):
            if claimed.answer is Answer.RUN and claimed.job is not None:
                self.controller.marks.note(claimed.job)
                self._run(claimed.job, message)
            elif claimed.answer is Answer.DROP:
                logger.info("job %s.%d dropped: it %s", envelope.job_id, envelope.attempt, claimed.why)
                self._settle_message(message.ack_log_error)
            else:
                self._reject(message, f"job {envelope.job_id}.{envelope.attempt} {claimed.why}")

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

    def _run(self, job: Job, message: Any) -> None:
        request = AttemptRequest(
            message,
            job,
            on_end=self._record,
            witness=self.controller.witness,
            on_ack=lambda log, errors: self._settle_message(message.ack_log_error),
            on_reject=lambda log, errors, requeue: self._settle_message(message.reject_log_error, requeue),
            app=self.app,
            hostname=self.hostname,
            eventer=self.event_dispatcher,
            task=self.app.tasks[job.task],
            connection_errors=self.connection_errors,
        )
        request.send_event(
            "task-received",
            name=job.task,
            args="()",
            kwargs="{}",
            root_id=request.root_id,
            parent_id=None,
            retries=job.attempt - 1,
            eta=None,
            expires=None,
        )
        state.task_reserved(request)
        self.on_task_request(request)

    def _record(self, request: AttemptRequest, outcome: Outcome) -> bool:
        """Commit the outcome, and only then settle its message. With the database away it is held: False.

        Called by the pool, from another thread where it is one of threads.
        """
        self._recording.add(request.id)
        try:
            return self._record_now(request, outcome)
        finally:
            self._recording.discard(request.id)

    def _record_now(self, request: AttemptRequest, outcome: Outcome) -> bool:
        try:
            if outcome.lost and self.controller.shutdown.asked:
                return self._hand_back(request)
            (reached,) = record([Ended(request.job, outcome, self.hostname)])
        except OUTAGE as error:
            connection.close()
            logger.warning("the outcome of %s waits for the database: %s", request.id, error)
            self._unrecorded.append((request, outcome))
            self._try_later()
            return False
        except Exception as error:
            logger.exception("the outcome of %s can not be recorded", request.id)
            self._record_unrecordable(request, error)
        else:
            request.settle(reached, outcome)
        if self._unclaimed:  # a slot is free
            self.call_soon(self._claim_waiting)
        return True

    def _hand_back(self, request: AttemptRequest) -> bool:
        """A child that ends while its worker is stopping was most likely stopped with it. True: the message is settled.

        Those that we kill ourselves at the deadline are handed back all together (shutdown.py).
        """
        if not self.controller.shutdown.interrupts:
            hand_back([(request.job.pk, request.job.attempt)], why="its process ended while the worker was stopping")
            request.acknowledge()
        return True

    def _record_unrecordable(self, request: AttemptRequest, error: Exception) -> None:
        """An outcome that no row can hold still ends its job, and never keeps its slot of the prefetch window."""
        outcome = Outcome.of_error(error, None, 1, reason=DeadLetter.Reason.PERMANENT)
        try:
            (reached,) = record([Ended(request.job, outcome, self.hostname)])
        except Exception:
            logger.exception("the attempt %s is left to supervision", request.id)
            reached = JobState.DEAD
        request.settle(reached, outcome)

    def _try_later(self) -> None:
        """Arrange for one further try, however many wait for it."""
        if not self._will_try:
            self._will_try = True
            self.call_soon(self.timer.call_after, DATABASE_PAUSE_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._will_try = False
        self.record_held()
        self._claim_waiting()

    def record_held(self) -> None:
        """Try once more to record the outcomes that wait for the database."""
        with suppress(IndexError):  # a stopping worker does so from another thread as well
            for _ in range(len(self._unrecorded)):
                self._recording.add(self._unrecorded[0][0].id)  # it is in one of both all the time
                if not self._record(*self._unrecorded.popleft()):
                    break  # it went to the end of the line: the next try begins with another

    def _settle_message(self, settle: Any, *args: Any) -> None:
        """``settle`` on the loop's own turn, since with a pool of threads the outcome comes from another one; at once
        when the loop has ended and the pool is being emptied."""

        def settle_now() -> None:
            try:
                settle(logger, self.connection_errors, *args)
            except OSError as error:  # the message comes again, and is a duplicate then
                logger.warning("a message could not be settled: %s", error)

        if self.blueprint.state == RUN:
            self.call_soon(settle_now)
        else:
            settle_now()

    def _reject(self, message: Any, why: str) -> None:
        logger.error("message dead-lettered: %s", why)
        if not message.acknowledged:
            self._settle_message(message.reject_log_error, False)
