"""Frames cross a real pair of sockets, cut wherever the network may cut them."""

import socket
from collections.abc import Iterator
from struct import pack
from typing import Any

import pytest
from amqp import spec
from amqp.method_framing import frame_handler
from amqp.transport import TCPTransport

from tasks.brokers.rabbitmq import reading
from tasks.brokers.rabbitmq.reading import read_received

SLOW_SECONDS = 5


class Connection:
    """The client's own transport and frame handler, and as much of its connection as they ask for."""

    def __init__(self, sock: socket.socket):
        self.bytes_recv = 0
        self.transport = TCPTransport("localhost")
        self.transport.sock = sock
        self.transport._setup_transport()
        self.handle = frame_handler(self, self._arrived)
        self.bodies: list[bytes] = []
        self.on_arrival: Any = None

    def blocking_read(self, timeout: float | None = None) -> Any:
        with self.transport.having_timeout(timeout):
            frame = self.transport.read_frame()
        return self.handle(frame)

    def _arrived(self, channel: int, method: Any, arguments: Any, message: Any) -> None:
        self.bodies.append(message.body or b"")
        if self.on_arrival:
            self.on_arrival()


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The broker's and the client's. A read that waits for what is not there fails instead of hanging."""
    broker, client = socket.socketpair()
    with broker, client:
        client.settimeout(SLOW_SECONDS)
        yield broker, client


@pytest.fixture
def broker(sockets) -> socket.socket:
    return sockets[0]


@pytest.fixture
def connection(sockets) -> Connection:
    return Connection(sockets[1])


def frame(kind: int, payload: bytes) -> bytes:
    return pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"


def message(body: bytes) -> bytes:
    """A delivery as a broker sends it: a method, a header, the body in frames of at most 4,000 bytes."""
    header = pack(">HHQH", 60, 0, len(body), 0)
    parts = [frame(3, body[at : at + 4000]) for at in range(0, len(body), 4000)]
    return frame(1, pack(">HH", *spec.Basic.Deliver) + b"arguments") + frame(2, header) + b"".join(parts)


HEARTBEAT = frame(8, b"")


def test_all_that_has_arrived_is_dispatched_at_once_and_in_order(broker, connection):
    bodies = [b"first", b"", b"x" * 100, b"last"]
    broker.sendall(HEARTBEAT + b"".join(map(message, bodies)) + HEARTBEAT)
    read_received(connection)
    assert connection.bodies == bodies


def test_frames_that_are_cut_anywhere_arrive_whole_and_in_order(broker, connection):
    bodies = [b"first", b"second, which is longer", b""]
    stream = HEARTBEAT + b"".join(map(message, bodies))
    for cut in range(1, len(stream)):
        connection.bodies.clear()
        broker.sendall(stream[:cut])
        read_received(connection)
        assert connection.bodies == bodies[: len(connection.bodies)]
        broker.sendall(stream[cut:])
        read_received(connection)
        assert connection.bodies == bodies, f"cut after {cut} bytes"


def test_frames_that_come_byte_by_byte_arrive_too(broker, connection):
    for byte in message(b"slowly") + message(b"but surely"):
        broker.sendall(bytes([byte]))
        read_received(connection)
    assert connection.bodies == [b"slowly", b"but surely"]


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_more_than_is_read_at_a_time_is_read_all_the_same(broker, connection, monkeypatch, spare):
    stream = message(b"a" * 9000) + message(b"b")
    monkeypatch.setattr(reading, "CHUNK_BYTES", len(stream) // 3 + spare)
    broker.sendall(stream)
    read_received(connection)
    assert connection.bodies == [b"a" * 9000, b"b"]


def test_a_stream_that_ends_with_a_chunk_is_not_waited_on(broker, connection, monkeypatch):
    stream = message(b"exactly")
    monkeypatch.setattr(reading, "CHUNK_BYTES", len(stream))
    broker.sendall(stream)
    read_received(connection)
    assert connection.bodies == [b"exactly"]


def test_with_nothing_there_it_does_not_wait(connection):
    sock, waits = connection.transport.sock, []

    def receive(size: int) -> bytes:
        waits.append(sock.gettimeout())
        return sock.recv(size)

    connection.transport._quick_recv = receive
    read_received(connection)
    assert (connection.bodies, waits) == ([], [0])
    assert sock.gettimeout() == SLOW_SECONDS, "it is as it was"


def test_a_connection_that_was_closed_raises(broker, connection):
    broker.close()
    with pytest.raises(OSError, match="closed"):
        read_received(connection)


def test_what_came_before_the_end_is_dispatched_before_that_is_told(broker, connection):
    broker.sendall(message(b"last words"))
    broker.close()
    with pytest.raises(OSError, match="closed"):
        [read_received(connection) for _ in range(2)]
    assert connection.bodies == [b"last words"]


def test_whoever_handles_a_message_may_read_on_by_himself(broker, connection):
    """As a call to the broker does, that waits for its answer."""

    def read_one_message_more() -> None:
        connection.on_arrival = None
        while len(connection.bodies) < 2:
            connection.blocking_read()

    connection.on_arrival = read_one_message_more
    broker.sendall(message(b"1") + message(b"2") + message(b"3"))
    read_received(connection)
    assert connection.bodies == [b"1", b"2", b"3"]
