"""Byte for byte what py-amqp would have written itself."""

import uuid
from types import SimpleNamespace
from typing import Any

import amqp
import pytest
from amqp import spec
from amqp.abstract_channel import AbstractChannel
from amqp.method_framing import frame_handler, frame_writer

from tasks.brokers import JobMessage
from tasks.brokers.rabbitmq.frames import frames, job_frames
from tasks.brokers.rabbitmq.messages import JOB_BODY, job_properties
from tasks.topology import TOPOLOGY

PLACES = [{"channel_id": 1, "frame_max": 131_072}, {"channel_id": 2047, "frame_max": 4096}]


def written_by_py_amqp(message: amqp.Message, exchange: str, routing_key: str, *, channel_id: int, frame_max: int):
    """What a channel puts on the wire when it is told to publish."""
    wire = bytearray()
    connection = SimpleNamespace(frame_max=frame_max, bytes_sent=0)
    connection.frame_writer = frame_writer(connection, SimpleNamespace(write=wire.extend))
    channel = SimpleNamespace(connection=connection, channel_id=channel_id)
    arguments = (0, exchange, routing_key, True, False)
    AbstractChannel.send_method(channel, spec.Basic.Publish, "Bssbb", arguments, message)
    return bytes(wire)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("attempt", [1, 2, 9, 10, 99, 100, 12345])
@pytest.mark.parametrize("queue_name", TOPOLOGY.queue_names)
@pytest.mark.parametrize("task", ["a.b", f"long.{'x' * 195}"])
def test_a_job_message_is_as_py_amqp_writes_it(task, queue_name, attempt, place):
    queue = TOPOLOGY.queue(queue_name)
    for _ in range(2):  # the first makes the template, the second uses it
        message = JobMessage(uuid.uuid4(), attempt, task, queue_name)
        plain = amqp.Message(JOB_BODY, **job_properties(message))
        assert job_frames(message, **place) == written_by_py_amqp(plain, queue.exchange, queue.routing_key, **place)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("size_bytes", [0, 1, 4000, 4096, 20_000, 300_000])
def test_any_message_is_as_py_amqp_writes_it(size_bytes, place):
    message = amqp.Message(b"x" * size_bytes, content_type="image/x", priority=3, application_headers={"a": [1, None]})
    assert frames(message, "e", "k", **place) == written_by_py_amqp(message, "e", "k", **place)


@pytest.mark.parametrize("place", PLACES)
def test_no_frame_is_longer_than_the_broker_allows(place):
    message = amqp.Message(b"x" * 300_000)
    found = list(split(frames(message, "e", "k", **place)))
    assert max(len(payload) + 8 for _, _, payload in found) <= place["frame_max"]
    assert {channel for _, channel, _ in found} == {place["channel_id"]}


def test_what_is_read_back_is_the_message():
    message = JobMessage(uuid.uuid4(), 3, "probe.echo", "sms-queue")
    read: list[Any] = []
    on_frame = frame_handler(SimpleNamespace(bytes_recv=0), lambda *arguments: read.append(arguments))
    kinds = []
    for kind, channel, payload in split(job_frames(message, **PLACES[0])):
        kinds.append(kind)
        if kind == 1:  # as if delivered: only those are read with their content
            payload = bytes.fromhex("003c003c") + payload[4:]
        on_frame((kind, channel, payload))
    ((_, _, _, content),) = read
    assert kinds == [1, 2, 3]
    assert (content.body, content.properties["message_id"]) == (JOB_BODY, message.id)
    assert content.properties["application_headers"]["root_id"] == str(message.job_id)
    assert content.properties["application_headers"]["retries"] == 2


def split(wire: bytes):
    """(type, channel, payload) of each frame."""
    while wire:
        size = int.from_bytes(wire[3:7], "big")
        assert wire[7 + size] == 0xCE
        yield wire[0], int.from_bytes(wire[1:3], "big"), wire[7 : 7 + size]
        wire = wire[8 + size :]
