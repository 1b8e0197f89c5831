"""Foreign producers over AMQP: a client that knows nothing but the envelope, a running worker, and what comes of it."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import amqp
import pytest
from kombu import Connection

from tasks.api import enqueue
from tasks.models import DeadLetter, Job
from tasks.states import FINAL, JobState
from tests.acceptance.seeing import ended
from tests.waiting import wait_for

Publish = Callable[..., str]

EMAIL = {"to": ["ada@example.org"], "subject": "Hello", "text": "there"}


@pytest.fixture
def publish(platform) -> Iterator[Publish]:
    """``publish(exchange, routing_key, body, **properties)`` as a client in any language would: declared plainly,
    persistent, confirmed. Returns the message id."""
    with Connection(platform["BROKER_URL"]) as connection:
        channel = connection.channel()
        channel.confirm_select()

        def send(exchange: str, routing_key: str, body: Any, **properties: Any) -> str:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            message_id = properties.pop("message_id", None) or uuid.uuid4().hex
            message = amqp.Message(raw, message_id=message_id, delivery_mode=2, **properties)
            channel.basic_publish_confirm(message, exchange, routing_key)
            return message_id

        yield send


def jobs_of(message_id: str) -> list[Job]:
    return list(Job.objects.filter(idempotency_key=message_id).order_by("task"))


def only_job_of(message_id: str) -> Job:
    wait_for(lambda: jobs_of(message_id), f"the job of message {message_id}")
    (job,) = jobs_of(message_id)
    return job


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("exchange", "key", "envelope", "task"),
    [
        ("email-exchange", "email", {"type": "email", "data": EMAIL}, "email.send"),
        ("sms-exchange", "sms", {"type": "sms", "data": {"to": ["+49 30 901820"], "text": "x"}}, "sms.send"),
        ("push-exchange", "push", {"type": "push", "data": {"to": ["ada"], "text": "x"}}, "push.send"),
        ("report-exchange", "report", {"type": "report", "data": {"dataset": "job-activity"}}, "report.render"),
        ("work-exchange", "work", {"type": "probe.echo", "data": {"text": "x"}}, "probe.echo"),
        ("priority-exchange", "priority", {"type": "probe.echo", "data": {"text": "x"}}, "probe.echo"),
        ("request-exchange", "request", {"type": "probe.echo", "data": {"text": "x"}}, "probe.echo"),
    ],
)
def test_an_envelope_in_each_exchange_runs(publish, exchange, key, envelope, task):
    job = only_job_of(publish(exchange, key, envelope))
    assert ended(job, timeout_seconds=60) == ["succeeded"]
    assert job.task == task


@pytest.mark.usefixtures("worker")
def test_one_notification_reaches_three_channels(publish):
    to = {"email": ["ada@example.org"], "sms": ["+49 30 901820"], "push": ["ada"]}
    data = {"to": to, "title": "Hello", "text": "there"}
    message_id = publish("notification-exchange", "", {"type": "notification", "data": data})
    wait_for(lambda: len(jobs_of(message_id)) == 3, "a job for each channel")
    jobs = jobs_of(message_id)
    assert [job.task for job in jobs] == ["email.send", "push.send", "sms.send"]
    assert set(ended(*jobs)) == {"succeeded"}


@pytest.mark.usefixtures("worker")
def test_a_message_sent_twice_is_one_job(publish):
    body = {"type": "probe.echo", "data": {"text": "x"}}
    message_id = publish("work-exchange", "work", body)
    publish("work-exchange", "work", {**body, "retryCount": 1}, message_id=message_id)
    job = only_job_of(message_id)
    wait_for(lambda: job.events.filter(kind="duplicate").exists(), "the second to be noticed")
    assert ended(job) == ["succeeded"]
    assert len(jobs_of(message_id)) == 1


WRONG: dict[str, tuple[Any, str, str]] = {
    "garbage": (b"\x89PNG\x00", "undecodable", "not JSON"),
    "no type": ({"data": {}}, "unknown_message", "type"),
    "no data": ({"type": "email"}, "unknown_message", "data"),
    "unknown type": ({"type": "fax", "data": {}}, "unknown_task", "fax"),
    "the platform's own": ({"type": "platform.prune", "data": {}}, "unknown_task", "platform.prune"),
    "wrong schema": ({"type": "email", "data": {**EMAIL, "to": []}}, "invalid_payload", "data.to"),
    "unknown member": ({"type": "email", "data": {**EMAIL, "attachement": "x"}}, "invalid_payload", "attachement"),
    "far future": ({"type": "email", "data": EMAIL, "timestamp": "2999-01-01T00:00:00Z"}, "unknown_message", "clock"),
    "too large": ({"type": "email", "data": {**EMAIL, "text": "x" * 300_000}}, "invalid_payload", "262,144"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_a_dead_letter_that_names_the_fault(publish, worker, kind):
    body, reason, said = WRONG[kind]
    message_id = publish("email-exchange", "email", body)
    found = DeadLetter.objects.filter(properties__message_id=message_id)
    wait_for(found.exists, f"the dead letter of {kind}")
    letter = found.get()
    assert (letter.reason, letter.exchange, letter.queue) == (reason, "email-exchange", "email-queue")
    assert said in letter.error
    assert worker.process.poll() is None


@pytest.mark.usefixtures("worker")
def test_an_id_used_for_something_else_is_a_dead_letter_and_not_lost(publish):
    message_id = publish("work-exchange", "work", {"type": "probe.echo", "data": {"text": "x"}})
    assert ended(only_job_of(message_id)) == ["succeeded"]
    publish("work-exchange", "work", {"type": "probe.echo", "data": {"text": "other"}}, message_id=message_id)
    wait_for(DeadLetter.objects.filter(reason="id_conflict").exists, "the dead letter of the second")
    assert len(jobs_of(message_id)) == 1


@pytest.mark.usefixtures("worker")
def test_a_flood_of_envelopes_does_not_starve_a_job_in_the_same_queue(publish, platform):
    flood = 3000
    with Connection(platform["BROKER_URL"]) as connection:
        channel = connection.channel()
        body = json.dumps({"type": "probe.echo", "data": {"text": "flood"}}).encode()
        for _ in range(flood):
            channel.basic_publish(amqp.Message(body, delivery_mode=2), "work-exchange", "work")
        channel.queue_declare("work-queue", passive=True)
    job = enqueue("probe.echo", {"text": "a job"})
    assert ended(job, timeout_seconds=60) == ["succeeded"]
    of_the_flood = Job.objects.filter(payload__text="flood")
    before = of_the_flood.filter(finished_at__lt=job.finished_at).count()
    wait_for(lambda: of_the_flood.filter(state=JobState.SUCCEEDED).count() == flood, "the flood to end", 120)
    assert before < flood / 2, "it was served in its turn: behind the acceptance of the flood, not behind its jobs"


def test_ten_thousand_envelopes_and_two_kills_make_ten_thousand_jobs(start_worker, publish, platform):
    many = 10_000
    mark = uuid.uuid4().hex
    with Connection(platform["BROKER_URL"]) as connection:
        channel = connection.channel()
        for number in range(many):
            body = json.dumps({"type": "probe.echo", "data": {"text": mark}}).encode()
            message = amqp.Message(body, delivery_mode=2, message_id=f"{mark}-{number}")
            channel.basic_publish(message, "work-exchange", "work")
        channel.queue_declare("work-queue", passive=True)
    made = Job.objects.filter(idempotency_key__startswith=mark)
    for least in (500, 4000):
        worker = start_worker("-c", "2")
        wait_for(lambda least=least: made.count() >= least, f"{least} jobs")
        worker.kill()
    start_worker("-c", "2")
    wait_for(lambda: made.count() == many, f"{many} jobs", 120)
    wait_for(lambda: not made.exclude(state__in=FINAL).exists(), "all of them to end", 180)
    assert made.filter(state=JobState.SUCCEEDED).count() == many
    assert not DeadLetter.objects.filter(job__in=made).exists()
