"""One connection to RabbitMQ, opened at first use and again, to another node, after whatever broke it."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import amqp
from kombu import Connection, Consumer, Message
from kombu.exceptions import KombuError

from tasks.brokers.base import Answers, DeadMessage, JobMessage, QueueMissing, Reply, TopicMessage, TopologyMismatch
from tasks.brokers.rabbitmq import bindings, policies
from tasks.brokers.rabbitmq.confirms import Confirms
from tasks.brokers.rabbitmq.declaration import dead_queues, declarations, declare
from tasks.brokers.rabbitmq.frames import frames, job_frames
from tasks.brokers.rabbitmq.messages import dead_message, properties_again, reply_properties, topic_properties
from tasks.brokers.rabbitmq.nodes import nodes
from tasks.doctor.check import Check
from tasks.errors import BrokerUnavailable
from tasks.topology import TOPOLOGY

CONNECT_TIMEOUT_SECONDS = 3
# Without both, a publisher waits for ever on a memory alarm, a frozen broker or a half-open connection.
SOCKET_TIMEOUTS = {"read_timeout": 10, "write_timeout": 10}
CONFIRM_TIMEOUT_SECONDS = 10.0
PREFETCH = 50
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to."
TROUBLE = (OSError, amqp.AMQPError, KombuError)


class RabbitMQ:
    """brokers.base.Broker says what each method promises."""

    def __init__(self, url: str):
        self._nodes = deque(nodes(url))  # the one to try next comes first
        self._connection: Connection | None = None
        self._confirms: Confirms | None = None

    def publish(self, messages: Sequence[JobMessage]) -> set[str]:
        with self._mending_topology():
            self._send(messages)
            return self._all_confirmed()

    def send(self, messages: Sequence[JobMessage]) -> None:
        with self._mending_topology():
            self._send(messages)

    def answers(self, timeout_seconds: float) -> Answers:
        with self._mending_topology():
            return self._answers(timeout_seconds)

    def publish_again(self, dead: DeadMessage) -> bool:
        message_id = str(dead.properties.get("message_id") or "again")
        message = amqp.Message(dead.body, **properties_again(dead) | {"message_id": message_id})
        with self._reaching():
            confirms = self._confirming()
            confirms.send([(message_id, frames(message, dead.exchange, dead.routing_key, **confirms.place))])
        return message_id in self._all_confirmed()

    def publish_to_topic(self, exchange: str, messages: Sequence[TopicMessage]) -> None:
        with self._mending_topology():
            with self._reaching():
                confirms = self._confirming()
                place = confirms.place
                confirms.send([(each.id, _to_topic(exchange, each, place)) for each in messages])
            if missing := {each.id for each in messages} - self._all_confirmed():
                raise BrokerUnavailable(f"the broker refused {len(missing)} of {len(messages)} messages to {exchange}")

    def reply(self, replies: Sequence[Reply]) -> set[str]:
        direct = [each for each in replies if each.to.startswith(DIRECT_REPLY_TO)]
        with self._reaching() as connection:
            gone = {each.id for each in direct if not _listens(connection, each.to)}
            sent = [each for each in replies if each.id not in gone]
            if not sent:
                return set()
            confirms = self._confirming()
            place = confirms.place
            confirms.send([(each.id, _to_caller(each, place)) for each in sent])
        return self._all_confirmed() & {each.id for each in sent}

    def _send(self, messages: Sequence[JobMessage]) -> None:
        with self._reaching():
            confirms = self._confirming()
            place = confirms.place
            confirms.send([(message.id, job_frames(message, **place)) for message in messages])

    def _answers(self, timeout_seconds: float) -> Answers:
        if self._confirms is None:
            return Answers(set(), set())
        with self._reaching():
            return self._confirms.answers(timeout_seconds, patience_seconds=CONFIRM_TIMEOUT_SECONDS)

    def _all_confirmed(self) -> set[str]:
        """Of all that was sent, what the broker has. It has refused the rest."""
        confirmed = self._answers(CONFIRM_TIMEOUT_SECONDS).confirmed
        while self._confirms is not None and not self._confirms.are_complete:
            confirmed |= self._answers(CONFIRM_TIMEOUT_SECONDS).confirmed
        return confirmed

    def depth(self, queue: str) -> int:
        with self._reaching() as connection, connection.channel() as channel:
            try:
                return channel.queue_declare(queue, passive=True).message_count
            except amqp.NotFound:
                raise QueueMissing(queue) from None

    def consume_dead(self, handle: Callable[[DeadMessage], None], *, keep_going: Callable[[], bool]) -> None:
        def on_message(message: Message) -> None:
            handle(dead_message(message))
            message.ack()

        with self._mending_topology(), self._reaching() as connection, connection.channel() as channel:
            consumer = Consumer(
                channel, dead_queues(), on_message=on_message, auto_declare=False, prefetch_count=PREFETCH
            )
            with consumer:
                while keep_going():
                    try:
                        connection.drain_events(timeout=1)
                    except TimeoutError:  # a frozen node is as silent as an idle one: only an answer tells them apart
                        channel.basic_qos(prefetch_size=0, prefetch_count=PREFETCH, a_global=False)

    def apply_topology(self) -> list[str]:
        mismatches: list[str] = []
        with self._reaching() as connection:
            for entity in declarations():
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
        return policies.set_alternate_exchanges()

    def check_topology(self) -> list[str]:
        lines: list[str] = []
        with self._reaching() as connection:
            for entity in declarations():
                name = f"{type(entity).__name__.lower()} {entity.name}"
                try:
                    declare(entity, connection, passive=True)
                    declare(entity, connection)  # it exists, so this creates nothing and compares every argument
                except amqp.NotFound:
                    lines.append(f"{name} is missing")
                except amqp.PreconditionFailed as error:
                    lines.append(f"{name} differs: {error.reply_text}")
        return lines + bindings.missing() + policies.missing()

    def checks(self) -> Sequence[Check]:
        from tasks.brokers.rabbitmq.checks import checks  # they need models, which a broker does not

        return checks(self._reaching)

    def close(self) -> None:
        connection, self._connection, self._confirms = self._connection, None, None
        if connection is not None:
            with suppress(Exception):
                connection.collect(socket_timeout=1)

    @contextmanager
    def _mending_topology(self) -> Iterator[None]:
        """Where an exchange or a queue was deleted, the caller's next try finds it."""
        try:
            yield
        except BrokerUnavailable as error:
            if isinstance(error.__cause__, amqp.NotFound):
                self.apply_topology()
            raise

    @contextmanager
    def _reaching(self) -> Iterator[Connection]:
        """The open connection. Whatever breaks it is told as BrokerUnavailable, and the next call opens a new one."""
        try:
            if self._connection is None:
                self._connection = self._open()
            yield self._connection
        except TROUBLE as error:
            self.close()
            self._nodes.rotate(-1)  # a node may let us in and still serve nobody
            raise BrokerUnavailable(f"the broker can not be asked: {error or type(error).__name__}") from error

    def _open(self) -> Connection:
        """To the first node that lets us in, each tried once. Raises what the last one said when none does."""
        for _ in range(len(self._nodes) - 1):
            with suppress(*TROUBLE):
                return _enter(self._nodes[0])
            self._nodes.rotate(-1)
        return _enter(self._nodes[0])

    def _confirming(self) -> Confirms:
        """A channel to publish on, and another one after a refusal.

        A channel that first meets a queue in the moment between its leader's death and the election of the next one
        refuses whatever is for that queue until the dead node is back, be it for hours (seen in 3.10).
        """
        assert self._connection is not None, "inside _reaching"
        if self._confirms is not None and self._confirms.has_refused and self._confirms.are_complete:
            self._confirms.close()
            self._confirms = None
        if self._confirms is None:
            self._confirms = Confirms(self._connection.channel())
        return self._confirms


def _to_topic(exchange: str, message: TopicMessage, place: dict[str, Any]) -> bytes:
    """Not mandatory: that nobody has subscribed is no fault."""
    whole = amqp.Message(message.body, **topic_properties(message))
    return frames(whole, exchange, message.routing_key, False, **place)


def _to_caller(reply: Reply, place: dict[str, Any]) -> bytes:
    """By the default exchange. Of a mandatory one the broker says where its queue is gone; but a direct reply-to is no
    queue to it, and such a message always comes back."""
    whole = amqp.Message(reply.body, **reply_properties(reply))
    return frames(whole, "", reply.to, not reply.to.startswith(DIRECT_REPLY_TO), **place)


def _listens(connection: Connection, reply_to: str) -> bool:
    """Whether the client of a direct reply-to is still there, as https://www.rabbitmq.com/docs/direct-reply-to has
    servers ask. A no closes the channel."""
    with connection.channel() as channel:
        try:
            channel.queue_declare(reply_to, passive=True)
        except amqp.NotFound:
            return False
        return True


def _enter(node: str) -> Connection:
    options = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "transport_options": dict(SOCKET_TIMEOUTS)}
    return Connection(node, **options).ensure_connection(max_retries=0)
