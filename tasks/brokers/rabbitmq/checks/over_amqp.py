"""What every client can ask: is it there, is it as declared, who listens, what waits."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from typing import NamedTuple

import amqp
from kombu import Connection, Exchange, Queue

from tasks.brokers.rabbitmq.checks.over_api import Api
from tasks.brokers.rabbitmq.declaration import celery_queues, dead_queues, declarations, declare
from tasks.doctor.check import Check, Finding, Unknown, in_one_line
from tasks.errors import BrokerUnavailable

# The collector takes a dead message at once; one that is still there after this was not taken.
COLLECTOR_PAUSE_SECONDS = 2.0

Reaching = Callable[[], AbstractContextManager[Connection]]


class Counted(NamedTuple):
    """A queue's own answer."""

    ready: int
    consumers: int


class AmqpChecks:
    def __init__(self, reaching: Reaching, api: Api):
        self._reaching = reaching
        self._api = api

    def all(self) -> tuple[Check, ...]:
        needs = ("broker",)
        return (
            Check("broker", "RabbitMQ lets us in", self.broker),
            Check("topology", "every declared exchange and queue is there", self.topology, needs),
            Check("queue-type", "every queue that is there is a quorum queue", self.queue_type, needs),
            Check("queue-arguments", "exchanges and queues are as declared", self.queue_arguments, needs),
            Check("consumers", "every queue that is there has a consumer", self.consumers, needs),
            Check("dead-queues", "dead messages are collected", self.dead_queues, needs),
        )

    def broker(self) -> Iterator[Finding]:
        try:
            with self._reaching() as connection, connection.channel():
                pass
        except BrokerUnavailable as error:
            yield Finding(
                in_one_line(error),
                "Start RabbitMQ, or correct BROKER_URL. Jobs are accepted meanwhile, and published when it is back.",
            )

    def topology(self) -> Iterator[Finding]:
        for entity, refusal in self._drift:
            if refusal is None:
                yield Finding(
                    f"{_in_words(entity)} is missing",
                    "Run `manage.py topology apply`; what waited in a queue is published again by the relay.",
                )

    def queue_type(self) -> Iterator[Finding | Unknown]:
        """A queue that differs may be a classic one: over AMQP its type shows only when all else agrees."""
        for queue in self._queues_that_differ:
            kind = self._api.type_of(queue.name)
            if kind is None:
                yield Unknown(
                    f"queue {queue.name} differs from its declaration, and only the management API tells its type",
                    "Set RABBITMQ_API_URL, or run `rabbitmqctl list_queues name type`.",
                )
            elif kind != "quorum":
                yield Finding(
                    f"queue {queue.name} is a {kind} queue: a job that kills its worker is delivered for ever, dead "
                    "letters may be dropped, and one node has the only copy",
                    f"Stop its workers, delete it (`rabbitmqctl delete_queue {queue.name}`), run `manage.py topology "
                    "apply`. Its jobs are published again.",
                )

    def queue_arguments(self) -> Iterator[Finding]:
        for entity, refusal in self._drift:
            if refusal is not None:
                yield Finding(
                    f"{_in_words(entity)} differs from its declaration: {refusal}",
                    "No worker of this build starts with it. Delete it, then run `manage.py topology apply`; jobs that "
                    "waited in it are published again.",
                )

    def consumers(self) -> Iterator[Finding | Unknown]:
        if not any(self._counts.get(queue.name) for queue in celery_queues()):
            yield Unknown("no queue is there", "Run `manage.py topology apply`, then start a worker.")
            return
        deserted = {
            queue.name: counted.ready
            for queue in celery_queues()
            if (counted := self._counts.get(queue.name)) and not counted.consumers
        }
        if deserted:
            waiting = [f"{name} ({ready} waiting)" if ready else name for name, ready in deserted.items()]
            option = "" if len(deserted) == len(celery_queues()) else f" -Q {','.join(deserted)}"
            yield Finding(
                f"nobody consumes {', '.join(waiting)}", f"Start a worker: `celery -A project worker{option}`."
            )

    def dead_queues(self, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[Finding]:
        suspects = [
            queue.name for queue in dead_queues() if (counted := self._counts.get(queue.name)) and counted.ready
        ]
        if not suspects:
            return
        sleep(COLLECTOR_PAUSE_SECONDS)
        for name, counted in self._count(suspects).items():
            if counted.ready:
                remedy = "Every worker has a collector: see the workers' logs for why theirs does not take them."
                yield Finding(
                    f"{counted.ready} messages in {name} are not collected, so nobody sees them",
                    remedy if counted.consumers else "Start a worker: each has a collector, and none is connected.",
                )

    @cached_property
    def _drift(self) -> list[tuple[Exchange | Queue, str | None]]:
        """What is missing (None) or declared otherwise, with what RabbitMQ said. Creates nothing."""
        found: list[tuple[Exchange | Queue, str | None]] = []
        with self._reaching() as connection:
            for entity in declarations():
                try:
                    declare(entity, connection, passive=True)
                    declare(entity, connection)  # it exists, so RabbitMQ compares every argument
                except amqp.NotFound:
                    found.append((entity, None))
                except amqp.PreconditionFailed as error:
                    found.append((entity, str(error.reply_text).removeprefix("PRECONDITION_FAILED - ")))
        return found

    @property
    def _queues_that_differ(self) -> list[Queue]:
        return [entity for entity, refusal in self._drift if refusal is not None and isinstance(entity, Queue)]

    @cached_property
    def _counts(self) -> dict[str, Counted]:
        return self._count([queue.name for queue in (*celery_queues(), *dead_queues())])

    def _count(self, names: list[str]) -> dict[str, Counted]:
        """Queues that are not there are left out: ``topology`` tells them."""
        found: dict[str, Counted] = {}
        with self._reaching() as connection:
            for name in names:
                with connection.channel() as channel:  # a refusal closes its channel
                    try:
                        answer = channel.queue_declare(name, passive=True)
                    except amqp.NotFound:
                        continue
                    found[name] = Counted(answer.message_count, answer.consumer_count)
        return found


def _in_words(entity: Exchange | Queue) -> str:
    return f"{type(entity).__name__.lower()} {entity.name}"
