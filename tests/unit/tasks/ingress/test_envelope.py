import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from tasks.ingress.envelope import MAX_TEXT, Arrival, digest_of, key_of, read
from tasks.worker.envelope import WrongMessage


def arrival(body: Any = None, **values: Any) -> Arrival:
    content = {"type": "email", "data": {}} if body is None else body
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Arrival(**{"body": raw, "source": "amqp", "place": "email-queue", **values})


def with_members(**members: Any) -> Arrival:
    return arrival({"type": "email", "data": {"to": ["a@example.org"]}, **members})


def test_all_members_are_read():
    envelope = read(
        with_members(
            id="m-1", timestamp="2026-01-31T08:00:00Z", priority="high", retryCount=2, correlationId="c", replyTo="q"
        )
    )
    assert envelope.model_dump() == {
        "type": "email",
        "data": {"to": ["a@example.org"]},
        "id": "m-1",
        "timestamp": datetime(2026, 1, 31, 8, tzinfo=UTC),
        "priority": "high",
        "retry_count": 2,
        "correlation_id": "c",
        "reply_to": "q",
        "ordering_key": None,
    }


def test_members_that_nobody_knows_or_that_are_null_do_no_harm():
    assert read(with_members(version=3, id=None, priority=None)).id is None


@pytest.mark.parametrize(
    ("given", "priority"),
    [(0, "normal"), (4, "normal"), (5, "high"), (9, "high"), (255, "high"), ("7", "high"), ("normal", "normal")],
)
def test_a_number_is_a_priority_too(given, priority):
    assert read(with_members(priority=given)).priority == priority
    assert read(arrival(properties={"priority": given})).priority == priority


def test_the_body_wins_over_the_properties_but_for_the_id():
    beside = {"correlation_id": "theirs", "reply_to": "theirs", "message_id": "theirs"}
    envelope = read(arrival({"type": "email", "data": {}, "id": "1", "correlationId": "c"}, properties=beside))
    assert (envelope.id, envelope.correlation_id, envelope.reply_to) == ("theirs", "c", "theirs")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"\x89PNG\r\n", "not JSON"),
        (b'{"type": "email"', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "is no envelope"),
        (b'"email"', "is no envelope"),
        ({}, "type: "),
        ({"type": "email"}, "data: "),
        ({"type": "", "data": {}}, "type: "),
        ({"type": 7, "data": {}}, "type: "),
        ({"type": "email", "data": []}, "data: "),
        ({"type": "email", "data": {}, "id": {}}, "id: "),
        ({"type": "email", "data": {}, "id": True}, "id: "),
        ({"type": "email", "data": {}, "priority": "urgent"}, "priority: "),
        ({"type": "email", "data": {}, "priority": -1}, "priority: "),
        ({"type": "email", "data": {}, "retryCount": -1}, "retryCount: "),
        ({"type": "email", "data": {}, "timestamp": "soon"}, "timestamp: "),
        ({"type": "email", "data": {}, "timestamp": 1e300}, "timestamp: "),
        ({"type": "email", "data": {}, "timestamp": "2999-01-01T00:00:00Z"}, "timestamp: "),
        ({"type": "email", "data": {}, "replyTo": 3}, "replyTo: "),
    ],
)
def test_what_is_wrong_is_named(body, said):
    with pytest.raises(WrongMessage, match=said):
        read(arrival(body))


def test_a_message_larger_than_any_payload_is_not_even_parsed(settings):
    settings.TASKS_MAX_PAYLOAD_BYTES = 10
    with pytest.raises(WrongMessage, match="an envelope may have"):
        read(arrival(b'"' + b"x" * 70_000 + b'"'))


def test_a_clock_that_is_a_little_fast_is_believed():
    soon = timezone.now() + timedelta(hours=1)
    assert read(with_members(timestamp=soon.isoformat())).timestamp == soon


def test_the_key_is_the_messages_id_else_what_its_transport_has():
    kafka = arrival(key="kafka:emails:0:7")
    assert key_of(kafka, read(kafka)) == "kafka:emails:0:7"
    assert key_of(kafka, read(with_members(id=42))) == "42"
    assert key_of(arrival(), read(arrival())) is None


def test_a_key_too_long_for_its_column_is_kept_as_a_digest():
    long = with_members(id="x" * (MAX_TEXT + 1))
    assert len(key_of(long, read(long)) or "") == 64


def test_sent_again_it_is_the_same_request():
    again = with_members(retryCount=3, timestamp="2026-01-01T00:00:00Z")
    assert digest_of(read(with_members())) == digest_of(read(again))
    assert digest_of(read(with_members())) != digest_of(read(arrival()))
