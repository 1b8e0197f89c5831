"""SQS for Celery's worker, as a transport of kombu.

Kombu's own speaks to SQS from the event loop. A worker that stops leaves its long polls behind there, and what they
bring is lost for as long as it is invisible; it extends no visibility; and a rejected message is deleted. Here all of
that is the hold's (holding.py), and the event loop only hears that something has arrived.
"""

import os
from contextlib import suppress
from queue import Empty
from select import select
from typing import Any

from kombu.transport import virtual

from tasks import aws
from tasks.brokers.sqs.holding import Hold
from tasks.brokers.sqs.messages import payload_of


class QoS(virtual.QoS):
    """Settles by the hold."""

    def ack(self, delivery_tag: str) -> None:
        self._done(delivery_tag, "delete")

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        self._done(delivery_tag, "release" if requeue else "bury")

    def _done(self, delivery_tag: str, verdict: Any) -> None:
        self.channel.connection.hold.settle(delivery_tag, verdict)
        super().ack(delivery_tag)


class Channel(virtual.Channel):
    """Consumes. What is published goes by the broker's own connection, and nothing else is ever sent."""

    QoS = QoS
    do_restore = False
    supports_fanout = False

    def basic_consume(self, queue: str, no_ack: bool, callback: Any, consumer_tag: str, **kwargs: Any) -> None:
        super().basic_consume(queue, no_ack, callback, consumer_tag, **kwargs)
        self.connection.hold.fetch(queue)

    def basic_cancel(self, consumer_tag: str) -> None:
        if queue := self._tag_to_queue.get(consumer_tag):
            self.connection.hold.leave(queue)
        super().basic_cancel(consumer_tag)

    def basic_qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        super().basic_qos(prefetch_size, prefetch_count, apply_global)
        self.connection.hold.prefetch = prefetch_count or 1

    def _has_queue(self, queue: str, **kwargs: Any) -> bool:
        return True

    def _new_queue(self, queue: str, **kwargs: Any) -> None:
        """The broker's connection makes them (apply_topology)."""

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        raise NotImplementedError("messages are published by tasks.publisher")

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        raise Empty

    def _size(self, queue: str) -> int:
        return 0

    def _purge(self, queue: str) -> int:
        raise NotImplementedError("purge a queue in the admin: its jobs are rows")


class Transport(virtual.Transport):
    """One hold, and a pipe that wakes the event loop."""

    Channel = Channel
    driver_type = "sqs"
    driver_name = "boto3"
    connection_errors = (*virtual.Transport.connection_errors, *aws.TROUBLE)
    implements = virtual.Transport.implements.extend(asynchronous=True, exchange_type=frozenset(["direct"]))

    _hold: Hold | None = None

    @property
    def hold(self) -> Hold:
        """Made at first use: a connection that consumes nothing has no threads."""
        if self._hold is None:
            self._readable, self._writable = os.pipe()
            os.set_blocking(self._readable, False)
            os.set_blocking(self._writable, False)
            self._hold = Hold(aws.client("sqs"), self._wake)
        return self._hold

    def _wake(self) -> None:
        with suppress(OSError):  # full, so the loop is woken already; or closed
            os.write(self._writable, b"x")

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        if self.hold:
            loop.add_reader(self._readable, self._deliver_arrived)

    def _deliver_arrived(self) -> int:
        with suppress(BlockingIOError):
            os.read(self._readable, 4096)
        arrived = self.hold.take()
        for held in arrived:
            self._deliver(payload_of(held.message, held.queue, held.tag), held.queue)
        return len(arrived)

    def drain_events(self, connection: Any, timeout: float | None = None, **_: Any) -> None:
        """For whoever has no event loop."""
        if self.hold:
            select([self._readable], [], [], timeout)
        if not self._deliver_arrived():
            raise TimeoutError

    def close_connection(self, connection: Any) -> None:
        super().close_connection(connection)
        if self._hold is not None:
            self._hold.close()
            self._hold = None
            for end in (self._readable, self._writable):
                os.close(end)

    def driver_version(self) -> str:
        return str(aws.boto3.__version__)
