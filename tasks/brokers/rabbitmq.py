"""RabbitMQ: declaration, confirmed publishing, depth and dead queues over AMQP 0-9-1.

Works on 3.10 and later. The management API, where configured, adds what AMQP can not say (rabbitmq_api.py).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import amqp
from amqp import abstract_channel, serialization, spec
from kombu import Connection, Consumer, Exchange, Message, Queue
from kombu.exceptions import KombuError

from tasks.brokers import rabbitmq_api
from tasks.brokers.base import DeadMessage, JobMessage, QueueMissing, TopologyMismatch
from tasks.errors import BrokerUnavailable
from tasks.topology import DEAD_LETTER_EXCHANGE, TOPOLOGY, UNROUTED_EXCHANGE, UNROUTED_QUEUE

CONNECT_TIMEOUT_SECONDS = 3
# Without both, a publisher waits for ever on a memory alarm, a frozen broker or a half-open connection.
SOCKET_TIMEOUTS = {"read_timeout": 10, "write_timeout": 10}
CONFIRM_TIMEOUT_SECONDS = 10.0
QUEUE_MISSING = 404
PRECONDITION_FAILED = 406
_QUORUM = {"x-queue-type": "quorum"}
# From 4.0 a quorum queue has a limit of 20 by default, and one without dead-letter route deletes what exceeds it.
_KEEPS_EVERYTHING = {**_QUORUM, "x-delivery-limit": 2_000_000_000}
_BODY = b"[[], {}, {}]"


def connect(url: str) -> "RabbitMQ":
    return RabbitMQ(url)


def exchanges() -> dict[str, Exchange]:
    return {
        exchange.name: Exchange(exchange.name, exchange.type, durable=True, auto_delete=False)
        for exchange in TOPOLOGY.exchanges
    }


def celery_queues() -> list[Queue]:
    """The work queues with their arguments: Celery reads "quorum" from them and sets its prefetch accordingly."""
    known = exchanges()
    return [
        Queue(
            queue.name,
            known[queue.exchange],
            routing_key=queue.routing_key,
            durable=True,
            queue_arguments={
                **_QUORUM,
                "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE,
                "x-dead-letter-routing-key": queue.name,
                # At-most-once, the default, drops a dead letter that its queue can not take at that moment. At-least-
                # once silently falls back to it unless the overflow is reject-publish.
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
                "x-delivery-limit": TOPOLOGY.delivery_limit,
            },
        )
        for queue in TOPOLOGY.queues
    ]


def dead_queues() -> list[Queue]:
    """What must keep anything, for ever: no time to live, no length, no dead-letter route, no limit of deliveries."""
    known = exchanges()
    return [
        *(
            Queue(
                queue.dead_name, known[DEAD_LETTER_EXCHANGE], routing_key=queue.name, queue_arguments=_KEEPS_EVERYTHING
            )
            for queue in TOPOLOGY.queues
        ),
        Queue(UNROUTED_QUEUE, known[UNROUTED_EXCHANGE], queue_arguments=_KEEPS_EVERYTHING),
    ]


def _declarations() -> list[Exchange | Queue]:
    """All of it, in an order in which nothing refers to what is not there yet."""
    return [*exchanges().values(), *dead_queues(), *celery_queues()]


def _declare(entity: Exchange | Queue, connection: Connection, *, passive: bool = False) -> None:
    """The exchange or queue without its bindings, on a channel of its own: a refusal closes the channel."""
    with connection.channel() as channel:
        if isinstance(entity, Exchange):
            entity(channel).declare(passive=passive)
        else:
            entity(channel).queue_declare(passive=passive)


class _AnyText(bytes):
    """Bytes that decode whatever they hold: what is no UTF-8 is shown as backslashes."""

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        return _AnyText(part) if isinstance(part, bytes) else part

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        try:
            return super().decode(encoding, errors)
        except UnicodeDecodeError:
            return super().decode(encoding, "backslashreplace")


def _accept_any_text() -> None:
    """Let a delivery whose routing key or properties are not UTF-8 reach its consumer.

    py-amqp raises while it reads the frame, before any handler of ours: the worker ends, the message is delivered to
    the next one, and that ends too.
    """

    def lenient(read: Callable[..., Any], buffer_at: int) -> Callable[..., Any]:
        def read_anything(*arguments: Any, **options: Any) -> Any:
            try:
                return read(*arguments, **options)
            except UnicodeDecodeError:
                changed = [*arguments]
                changed[buffer_at] = _AnyText(arguments[buffer_at])
                return read(*changed, **options)

        return read_anything

    abstract_channel.loads = lenient(serialization.loads, 1)
    for number, read in serialization.PROPERTY_CLASSES.items():
        serialization.PROPERTY_CLASSES[number] = lenient(read, 0)


_accept_any_text()


class RabbitMQ:
    """One connection; brokers.base.Broker says what each method promises."""

    def __init__(self, url: str):
        self._url = url
        self._connection: Connection | None = None
        self._confirms: _Confirms | None = None

    def publish(self, messages: Sequence[JobMessage]) -> set[str]:
        try:
            return self._publish(messages)
        except BrokerUnavailable as error:
            if isinstance(error.__cause__, amqp.NotFound):  # an exchange was deleted: the caller's next try finds it
                self.apply_topology()
            raise

    def _publish(self, messages: Sequence[JobMessage]) -> set[str]:
        with self._reaching():
            confirms = self._confirming()
            for message in messages:
                queue = TOPOLOGY.queue(message.queue)
                confirms.send(message.id, _BODY, queue.exchange, queue.routing_key, **_job_properties(message))
            return confirms.wait(CONFIRM_TIMEOUT_SECONDS)

    def publish_again(self, dead: DeadMessage) -> bool:
        properties = {
            name: value for name, value in dead.properties.items() if name not in ("delivery_mode", "message_id")
        }
        properties |= {"content_type": dead.content_type, "content_encoding": dead.content_encoding}
        message_id = str(dead.properties.get("message_id") or "again")
        with self._reaching():
            confirms = self._confirming()
            confirms.send(
                message_id,
                dead.body,
                dead.exchange,
                dead.routing_key,
                application_headers=dead.headers,
                **{name: value for name, value in properties.items() if value is not None},
            )
            return message_id in confirms.wait(CONFIRM_TIMEOUT_SECONDS)

    def depth(self, queue: str) -> int:
        with self._reaching() as connection, connection.channel() as channel:
            try:
                return channel.queue_declare(queue, passive=True).message_count
            except amqp.NotFound:
                raise QueueMissing(queue) from None

    def consume_dead(self, handle: Callable[[DeadMessage], None], *, keep_going: Callable[[], bool]) -> None:
        def on_message(message: Message) -> None:
            handle(_dead_message(message))
            message.ack()

        with self._reaching() as connection, connection.channel() as channel:
            consumer = Consumer(channel, dead_queues(), on_message=on_message, auto_declare=False, prefetch_count=50)
            with consumer:
                while keep_going():
                    with suppress(TimeoutError):
                        connection.drain_events(timeout=1)

    def apply_topology(self) -> list[str]:
        mismatches: list[str] = []
        with self._reaching() as connection:
            for entity in _declarations():
                with connection.channel() as channel:  # a refusal closes its channel
                    try:
                        entity(channel).declare()
                    except amqp.PreconditionFailed as error:
                        mismatches.append(str(error.reply_text))
            for exchange_name, queue_names in TOPOLOGY.fanouts.items():
                with connection.channel() as channel:
                    for queue_name in queue_names:
                        channel.queue_bind(queue_name, exchange_name)
        if mismatches:
            raise TopologyMismatch(mismatches)
        return rabbitmq_api.set_alternate_exchanges()

    def check_topology(self) -> list[str]:
        lines: list[str] = []
        with self._reaching() as connection:
            for entity in _declarations():
                name = f"{type(entity).__name__.lower()} {entity.name}"
                try:
                    _declare(entity, connection, passive=True)
                    _declare(entity, connection)  # it exists, so this creates nothing and compares every argument
                except amqp.NotFound:
                    lines.append(f"{name} is missing")
                except amqp.PreconditionFailed as error:
                    lines.append(f"{name} differs: {error.reply_text}")
        return lines + rabbitmq_api.missing_bindings() + rabbitmq_api.missing_policies()

    def close(self) -> None:
        connection, self._connection, self._confirms = self._connection, None, None
        if connection is not None:
            with suppress(Exception):
                connection.collect(socket_timeout=1)

    @contextmanager
    def _reaching(self) -> Iterator[Connection]:
        """The open connection. Whatever breaks it is told as BrokerUnavailable, and the next call opens a new one."""
        try:
            if self._connection is None:
                self._connection = Connection(
                    self._url, connect_timeout=CONNECT_TIMEOUT_SECONDS, transport_options=dict(SOCKET_TIMEOUTS)
                )
                self._connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, interval_max=0)
            yield self._connection
        except (OSError, amqp.AMQPError, KombuError) as error:
            self.close()
            raise BrokerUnavailable(f"the broker can not be asked: {error or type(error).__name__}") from error

    def _confirming(self) -> "_Confirms":
        if self._confirms is None:
            assert self._connection is not None, "inside _reaching"
            self._confirms = _Confirms(self._connection.channel())
        return self._confirms


class _Confirms:
    """Publisher confirms in a pipeline: send many, then wait once. A confirm a message would cost a round trip each."""

    def __init__(self, channel: Any):
        self._channel = channel
        self._sent = 0
        self._open: dict[int, str] = {}
        self._confirmed: set[str] = set()
        self._returned: set[str] = set()
        channel.confirm_select()
        channel.events["basic_ack"].add(lambda tag, multiple: self._close(tag, multiple, confirmed=True))
        channel.events["basic_nack"].add(lambda tag, multiple: self._close(tag, multiple, confirmed=False))
        channel.events["basic_return"].add(self._on_return)

    def send(self, id: str, body: bytes, exchange: str, routing_key: str, **properties: Any) -> None:
        message = amqp.Message(body, delivery_mode=2, message_id=id, **properties)
        self._sent += 1  # the broker counts deliveries of a confirming channel from 1
        self._open[self._sent] = id
        mandatory, immediate = True, False
        self._channel.send_method(
            spec.Basic.Publish, "Bssbb", (0, exchange, routing_key, mandatory, immediate), message
        )

    def wait(self, timeout_seconds: float) -> set[str]:
        """Ids the broker has. TimeoutError when it does not answer; what it did not confirm is then unknown."""
        deadline = time.monotonic() + timeout_seconds
        while self._open:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError(f"no confirm within {timeout_seconds:g} s")
            self._channel.connection.drain_events(timeout=remaining)
        confirmed = self._confirmed - self._returned
        self._confirmed, self._returned = set(), set()
        return confirmed

    def _close(self, tag: int, multiple: bool, *, confirmed: bool) -> None:
        for closed in [open_tag for open_tag in self._open if open_tag <= tag] if multiple else [tag]:
            id = self._open.pop(closed, None)
            if id is not None and confirmed:
                self._confirmed.add(id)

    def _on_return(self, error: Exception, exchange: str, routing_key: str, message: amqp.Message) -> None:
        self._returned.add(message.properties["message_id"])  # comes before the same message's confirm


def _job_properties(message: JobMessage) -> dict[str, Any]:
    """A Celery protocol 2 task message with no arguments: the worker takes them from the job's row."""
    return {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "correlation_id": message.id,
        "application_headers": {
            "lang": "py",
            "task": message.task,
            "id": message.id,
            "root_id": str(message.job_id),
            "parent_id": None,
            "group": None,
            "retries": message.attempt - 1,
            "argsrepr": "()",
            "kwargsrepr": "{}",
        },
    }


def _as_text(value: str | bytes) -> str:
    """py-amqp leaves what is no UTF-8 in a table as bytes."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def _dead_message(message: Message) -> DeadMessage:
    deaths = [dict(death) for death in (message.headers or {}).get("x-death", [])]
    newest = deaths[0] if deaths else {}
    info = message.delivery_info
    return DeadMessage(
        dead_queue=(newest and f"{newest['queue']}.dead") or UNROUTED_QUEUE,
        queue=newest.get("queue", ""),
        body=bytes(message.body) if not isinstance(message.body, str) else message.body.encode(),
        exchange=_as_text(newest.get("exchange", info.get("exchange", ""))),
        routing_key=_as_text(next(iter(newest.get("routing-keys", [])), info.get("routing_key", ""))),
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers={name: value for name, value in (message.headers or {}).items() if name not in _BROKERS_HEADERS},
        properties={name: value for name, value in message.properties.items() if name in _KEPT_PROPERTIES},
        deaths=deaths,
    )


# Kept on a replayed message, x-death can end it as a dead-letter cycle.
_BROKERS_HEADERS = {
    "x-death",
    "x-delivery-count",
    *(f"x-{which}-death-{what}" for which in ("first", "last") for what in ("exchange", "queue", "reason")),
}
_KEPT_PROPERTIES = (
    "correlation_id", "reply_to", "message_id", "priority", "expiration", "timestamp", "type", "user_id", "app_id"
)  # fmt: skip
