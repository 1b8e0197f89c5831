import json
import uuid

import pytest

from tasks.brokers import JobMessage
from tasks.brokers.sqs import messages
from tasks.brokers.sqs.queues import name_of
from tasks.worker.envelope import read_envelope

JOB = uuid.UUID(int=7)


def received(body: str = "{}", attributes: dict | None = None, **system: str) -> dict:
    """As ReceiveMessage answers."""
    said = {name: {"DataType": "String", "StringValue": value} for name, value in (attributes or {}).items()}
    return {
        "MessageId": "m-1",
        "ReceiptHandle": "r-1",
        "Body": body,
        "MessageAttributes": said,
        "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1760000000000", **system},
    }


def arrived(entry: dict) -> dict:
    """An entry that was sent, as it is received."""
    return {**received(entry["MessageBody"]), "MessageAttributes": entry["MessageAttributes"]}


def test_a_job_message_asks_for_its_attempt():
    entry = messages.job_entry(JobMessage(JOB, 3, "probe.echo", "work-queue"), "0")
    payload = messages.payload_of(arrived(entry), "work-queue", "tag")
    envelope = read_envelope(payload["headers"], payload["body"], payload["content-type"])
    assert (envelope.job_id, envelope.attempt, envelope.task) == (JOB, 3, "probe.echo")
    assert payload["properties"]["delivery_info"]["exchange"] == "work-exchange"


@pytest.mark.parametrize(("count", "expected"), [("1", False), ("2", True)])
def test_a_message_that_was_received_before_is_redelivered(count, expected):
    payload = messages.payload_of(received(ApproximateReceiveCount=count), "work-queue", "tag")
    assert payload["properties"]["delivery_info"]["redelivered"] is expected


def test_what_a_foreign_message_says_beside_its_body():
    said = {"IdempotencyKey": "i", "Priority": "high", "Timestamp": "1760000000000", "Other": "x"}
    found = messages.beside(received(attributes=said, MessageGroupId="g", MessageDeduplicationId="d"))
    assert found == {"idempotency_key": "i", "priority": "high", "timestamp": 1760000000000, "ordering_key": "g"}
    assert messages.beside(received(MessageDeduplicationId="d")) == {"idempotency_key": "d"}


def test_a_rejected_message_keeps_its_bytes_and_says_how_it_died():
    entry = messages.job_entry(JobMessage(JOB, 1, "probe.echo", "work-queue"), "0")
    dead = messages.dead_message(arrived(messages.dead_entry(arrived(entry), "work-queue")), "work-queue")
    assert (dead.queue, dead.dead_queue, dead.body) == ("work-queue", "work-queue.dead", b"[[], {}, {}]")
    assert dead.headers["id"] == f"{JOB}.1"
    assert [(death["queue"], death["reason"], death["count"]) for death in dead.deaths] == [
        ("work-queue", "rejected", 1)
    ]


def test_what_sqs_itself_gave_up_was_delivered_too_often():
    dead = messages.dead_message(received(ApproximateReceiveCount="4"), "email-queue")
    assert [(death["reason"], death["count"]) for death in dead.deaths] == [("delivery_limit", 4)]


def test_a_forged_death_is_not_believed():
    forged = received(attributes={"Death": json.dumps({"reason": "x"})})
    assert messages.dead_message(forged, "email-queue").deaths[0]["reason"] == "delivery_limit"


def test_no_message_has_more_attributes_than_sqs_takes():
    full = received(attributes={f"a{number}": "x" for number in range(10)})
    entry = messages.dead_entry(full, "email-queue")
    assert len(entry["MessageAttributes"]) == 10
    assert "Death" in entry["MessageAttributes"]


def test_names_have_no_full_stop_and_begin_with_the_prefix(settings):
    settings.TASKS_SQS_QUEUE_PREFIX = "shop-"
    assert name_of("email-queue.dead") == "shop-email-queue-dead"
