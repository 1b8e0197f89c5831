"""What a worker does with messages that are no job's."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from tasks.errors import KeyInUse
from tasks.worker import foreign as room
from tasks.worker.deliveries import Deliveries
from tasks.worker.foreign import AT_ONCE, Foreign, arrival_of, is_foreign, queue_of


class Message:
    def __init__(self, tag: int, **values: Any):
        self.delivery_tag, self.settled = tag, ""
        self.body, self.headers = values.get("body", b"{}"), values.get("headers", {})
        self.properties = values.get("properties", {})
        self.delivery_info = {"exchange": "email-exchange", "routing_key": "email", **values.get("info", {})}

    def ack(self, multiple: bool = False) -> None:
        self.settled = "ack"


class Loop:
    """Has its calls made by the test."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def soon(self, call: Callable[[], object]) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def offered(monkeypatch) -> list[Any]:
    """What ``accept`` was given: lists of arrivals. An exception put in ``errors`` is raised once."""
    seen: list[Any] = []
    errors: list[Exception] = []

    def accept(arrivals):
        if errors:
            raise errors.pop()
        seen.append(arrivals)

    monkeypatch.setattr(room, "accept", accept)
    monkeypatch.setattr(room, "connection", SimpleNamespace(close=lambda: None))
    seen_errors[:] = [errors]
    return seen


seen_errors: list[list[Exception]] = []


def make(loop: Loop, count: int) -> tuple[Foreign, list[Message]]:
    deliveries = Deliveries((), several_at_once=False)
    foreign = Foreign(soon=loop.soon, later=lambda seconds, call: loop.soon(call), deliveries=lambda: deliveries)
    messages = [Message(tag) for tag in range(count)]
    for message in messages:
        deliveries.add(message)
        foreign.add(message, "email-queue")
    return foreign, messages


def settled(messages: list[Message]) -> set[str]:
    return {message.settled for message in messages}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [(None, True), ({}, True), ({"x": 1}, True), ({"task": "a.b"}, False), ({"id": "1.1"}, False)],
)
def test_a_job_message_is_known_by_its_headers(headers, expected):
    assert is_foreign(headers) is expected


def test_many_are_accepted_together_and_then_acknowledged(loop, offered):
    _, messages = make(loop, 3)
    loop.turn()
    assert [len(arrivals) for arrivals in offered] == [3]
    assert settled(messages) == {"ack"}


def test_a_flood_leaves_turns_to_others(loop, offered):
    foreign, _ = make(loop, AT_ONCE + 1)
    loop.turn()
    assert (len(offered[0]), len(foreign), len(loop.calls)) == (AT_ONCE, 1, 1)
    loop.turn()
    assert (len(offered[1]), len(foreign)) == (1, 0)


@pytest.mark.parametrize("error", [OperationalError("gone"), KeyInUse("m-1")])
def test_what_can_not_be_accepted_now_is_offered_again_in_order(loop, offered, error):
    foreign, messages = make(loop, 3)
    seen_errors[0].append(error)
    loop.turn()
    assert (settled(messages), len(foreign)) == ({""}, 3), "none is acknowledged"
    loop.turn()
    assert settled(messages) == {"ack"}
    assert len(offered[0]) == 3


def test_what_is_dropped_is_neither_accepted_nor_acknowledged(loop, offered):
    foreign, messages = make(loop, 2)
    assert foreign.drop() == messages
    loop.turn()
    assert (offered, settled(messages)) == ([], {""})


def test_a_message_becomes_an_arrival_whole():
    properties = {"message_id": "m-1", "reply_to": "q", "priority": 0, "delivery_mode": 2}
    message = Message(1, body="text", headers={"idempotency-key": "k"}, properties=properties)
    arrival = arrival_of(message, "email-queue")
    assert (arrival.body, arrival.source, arrival.place) == (b"text", "amqp", "email-queue")
    assert arrival.properties == {"message_id": "m-1", "reply_to": "q", "priority": 0, "idempotency_key": "k"}
    assert (arrival.exchange, arrival.routing_key) == ("email-exchange", "email")


@pytest.mark.parametrize(
    ("info", "queue"),
    [
        ({"consumer_tag": "2", "exchange": "notification-exchange"}, "sms-queue"),
        ({"consumer_tag": "9"}, "email-queue"),
        ({"exchange": "", "routing_key": "push-queue"}, "push-queue"),
        ({"exchange": "notification-exchange", "routing_key": ""}, ""),
    ],
)
def test_its_queue_is_told_by_its_consumer_or_its_address(info, queue):
    assert queue_of(Message(1, info=info), {"2": "sms-queue"}) == queue
