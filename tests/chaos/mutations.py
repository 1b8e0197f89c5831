"""Mechanisms of the platform, broken on purpose: a scenario that none of these turns red is not yet a test.

Each is loaded into workers and web processes alone (apps.py, CHAOS_MUTATION), and replaces something where it is looked
up. The first line says what is missing then.
"""

import logging
import os
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

MUTATIONS: dict[str, Callable[[], None]] = {}


def mutation(break_it: Callable[[], None]) -> Callable[[], None]:
    """Register a breakage under its function's name, with dashes."""
    MUTATIONS[break_it.__name__.replace("_", "-")] = break_it
    return break_it


def _nothing(*_: Any, **__: Any) -> int:
    """In place of a function that would have done something about it."""
    return 0


# What the database's truth rests on.


@mutation
def fencing_off() -> None:
    """Claims and outcomes change a job whatever its state and attempt are by then."""
    from django.db.models.functions import Now

    from tasks.models import Job, JobEvent
    from tasks.worker import claiming, recording
    from tasks.worker.claiming import Claim

    def change(job_id: Any, *, target: Any, attempt: int | None = None, kind: Any = None, **values: Any) -> bool:
        detail = values.pop("detail", None) or {}
        values.pop("source")
        if target in ("succeeded", "dead", "cancelled"):
            values.setdefault("finished_at", Now())
        Job.objects.filter(pk=job_id).update(state=target, **values)
        JobEvent.objects.create(job_id=job_id, kind=kind or target, attempt=attempt or 0, detail=detail)
        return True

    explain = claiming._explain

    def run_anyway(envelope: Any, worker: Any, *rest: Any) -> Any:
        job = Job.objects.filter(pk=envelope.job_id).first()
        if job is None or job.state == "dead":
            return explain([envelope], worker, *rest)[0]
        Job.objects.filter(pk=job.pk).update(state="running", attempt=envelope.attempt, worker=worker, finished_at=None)
        JobEvent.objects.create(job=job, kind="running", attempt=envelope.attempt, detail={})
        return Claim.run(Job.objects.get(pk=job.pk))

    recording.change = change
    recording._succeed = lambda *_: None  # one by one, that is, through the change above
    claiming._explain = lambda envelopes, *rest: [run_anyway(envelope, *rest) for envelope in envelopes]


@mutation
def outcome_not_held() -> None:
    """An outcome that comes while the database is away is dropped, and its message acknowledged."""
    from tasks.states import JobState
    from tasks.worker import recorder
    from tasks.worker.recording import HELD, record

    recorder.record = lambda ended: [JobState.SUCCEEDED if state == HELD else state for state in record(ended)]


@mutation
def host_clock() -> None:
    """Moments are each host's own idea of the time, not the database's."""
    import sys

    from django.db.models import DateTimeField, Value
    from django.utils import timezone

    import tasks.jobs
    import tasks.worker.consumer
    import tasks.worker.steps  # noqa: F401  all who ask for the time are loaded now

    for name, module in list(sys.modules.items()):
        if name.startswith("tasks.") and hasattr(module, "Now"):
            module.Now = lambda: Value(timezone.now(), output_field=DateTimeField())


# What looks for the lost.


@mutation
def relay_off() -> None:
    """Nobody looks for missing messages. What is due is still published, or every scenario were red for one reason."""
    from tasks.worker import relay

    relay.publish_missing = _nothing


@mutation
def outbox_off() -> None:
    """What the broker did not confirm is forgotten, by whoever published it and by the relay."""
    from tasks.publisher import Publisher

    Publisher._put_back = _nothing
    relay_off()


@mutation
def supervision_off() -> None:
    """Lost children, hung ones, silent workers and messages of workers that are gone go unnoticed."""
    from tasks.worker import claiming, supervision
    from tasks.worker.turns import Turn

    for name in ("record_lost_attempts", "record_lost"):
        setattr(supervision, name, _nothing)
    supervision.Forgotten.record = _nothing
    claiming.is_gone = lambda *_: False
    Turn._on_loss = _nothing
    Turn._on_timeout = _nothing


@mutation
def journal_blank() -> None:
    """Nobody knows what a child had ended before it died."""
    from tasks.worker.journal import Page

    Page.outcomes = lambda _: []


@mutation
def watchdog_off() -> None:
    """Nobody notices a worker that consumes nothing."""
    from tasks.worker import steps

    steps._look_after = _nothing


@mutation
def watchdog_blind() -> None:
    """The watchdog takes what waits for the database for a connection that brings nothing."""
    from tasks.worker.consumer import JobConsumer

    JobConsumer.holds_outcomes = JobConsumer.holds_messages = property(lambda _: False)


@mutation
def children_obey() -> None:
    """A SIGTERM ends what a child runs, as Celery has it."""
    from tasks.worker import execution

    execution.sheltered = nullcontext


@mutation
def poison_unlimited() -> None:
    """A job may take with it as many processes as its policy has attempts."""
    from django.conf import settings

    settings.TASKS_POISON_LIMIT = 1_000_000


@mutation
def hand_back_off() -> None:
    """A stopping worker leaves what it runs to supervision."""
    from tasks.worker import shutdown
    from tasks.worker.claiming import HandedBack

    shutdown.hand_back = lambda *_, **__: HandedBack([], set())


# What keeps dead letters.


@mutation
def collector_off() -> None:
    """Dead messages are acknowledged unread."""
    from tasks.worker import collector

    collector.collect = _nothing


@mutation
def evidence_key_off() -> None:
    """A dead message that is handed over twice leaves two rows."""
    from tasks.worker import collector

    collector._key = lambda _: uuid.uuid4().hex


@mutation
def garbage_acked() -> None:
    """What can not be read is acknowledged, as Celery does."""
    from tasks.worker.consumer import JobConsumer

    def acknowledge(self: Any, message: Any, why: str) -> None:
        message.ack_log_error(logging.getLogger(__name__), self.connection_errors)

    JobConsumer._reject = acknowledge


# What becomes of an attempt that failed.


@mutation
def retries_off() -> None:
    """The first failure is the last."""
    from tasks.retry import RetryPolicy

    RetryPolicy.decide = lambda *_, **__: None


@mutation
def crashes_escape() -> None:
    """A task that raises MemoryError or SystemExit ends its process."""
    from tasks.worker.execution import JobTask

    run = JobTask.run

    def run_or_end(self: Any, **payload: Any) -> Any:
        function = self.spec.function

        def or_end(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except (MemoryError, SystemExit):
                os._exit(1)

        spec, self.spec = self.spec, replace(self.spec, function=or_end)
        try:
            return run(self, **payload)
        finally:
            self.spec = spec

    JobTask.run = run_or_end


# What holds on to the broker.


@mutation
def no_reconnect() -> None:
    """A connection or a channel that is lost is lost for good."""
    from celery import current_app

    current_app.conf.broker_connection_retry = False
    current_app.conf.broker_connection_retry_on_startup = False
    current_app.conf.broker_channel_error_retry = False


@mutation
def no_heartbeat() -> None:
    """Neither heartbeats nor timeouts find out that the other side has gone without a word."""
    from celery import current_app
    from django.conf import settings

    current_app.conf.broker_heartbeat = 0
    current_app.conf.broker_transport_options = {}
    settings.TASKS_IDLE_RESTART_SECONDS = 0


@mutation
def events_insist() -> None:
    """An event is tried until it is sent, on the main thread, as Celery has it."""
    from tasks.worker.events import Dispatcher

    del Dispatcher._publish


@mutation
def single_node() -> None:
    """Of a cluster's addresses the first alone is known."""
    from celery import current_app
    from django.conf import settings

    settings.CELERY_BROKER_URL = settings.CELERY_BROKER_URL.split(";")[0]
    current_app.conf.broker_url = settings.CELERY_BROKER_URL


@mutation
def publish_in_request() -> None:
    """Whoever enqueues waits until the broker has confirmed."""
    from tasks import publisher

    publish = publisher.publish

    def and_wait(messages: Any) -> None:
        publish(messages)
        publisher.flush(8)

    publisher.publish = and_wait


@mutation
def fork_hook_off() -> None:
    """A forked process goes on with its parent's publisher, whose thread it does not have."""
    from tasks import publisher

    parents: list[Any] = []
    os.register_at_fork(
        before=lambda: parents.append(publisher._publisher),
        after_in_child=lambda: setattr(publisher, "_publisher", parents[-1]),
    )


@mutation
def mismatch_ignored() -> None:
    """A worker goes on with queues that differ from its declaration."""
    from tasks.brokers import TopologyMismatch
    from tasks.brokers.rabbitmq.connection import RabbitMQ

    apply = RabbitMQ.apply_topology

    def anyhow(self: Any) -> list[str]:
        try:
            return apply(self)
        except TopologyMismatch:
            return []

    RabbitMQ.apply_topology = anyhow


@mutation
def redis_trusted() -> None:
    """A job is accepted only when Redis has heard of it."""
    from django.core.cache import cache

    from tasks.http import jobs

    enqueue = jobs.enqueue

    def and_tell(*arguments: Any, **options: Any) -> Any:
        job = enqueue(*arguments, **options)
        cache.set(f"job:{job.pk}", "accepted")
        return job

    jobs.enqueue = and_tell
