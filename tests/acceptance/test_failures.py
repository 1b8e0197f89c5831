"""Every way a job or message can fail, on a running worker: nothing vanishes, loops or ends the worker."""

import uuid

import amqp
import pytest
from django.db import transaction
from kombu import Connection

from tasks.api import cancel, enqueue
from tasks.dead_letters import replaying
from tasks.models import DeadLetter, Job
from tests.acceptance.seeing import attempts, ended, lines
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("worker")


def test_a_job_runs_once(tmp_path):
    trace = tmp_path / "trace"
    job = enqueue("probe.echo", {"text": "x", "trace": str(trace)})
    assert ended(job) == ["succeeded"]
    assert (job.result, len(lines(trace)), attempts(job)) == ({"text": "x"}, 1, ["SUCCESS"])
    assert [event.kind for event in job.events.all()] == ["queued", "running", "succeeded"]


def test_a_thousand_jobs_end_once_each(tmp_path):
    trace = tmp_path / "trace"
    with transaction.atomic():
        jobs = [enqueue("probe.echo", {"trace": str(trace)}) for _ in range(1000)]
    assert set(ended(*jobs, timeout_seconds=120)) == {"succeeded"}
    assert len(lines(trace)) == 1000


def test_scheduled_and_urgent_jobs_run_too():
    jobs = [enqueue("probe.echo", delay_seconds=0.5), enqueue("probe.echo", priority="high")]
    assert ended(*jobs) == ["succeeded", "succeeded"]
    assert jobs[0].started_at >= jobs[0].created_at


@pytest.mark.parametrize("how", ["raise", "later", "exit", "interrupt", "memory", "unpicklable", "os-exit", "kill"])
def test_a_failed_attempt_is_counted_and_retried(how):
    job = enqueue("probe.fail", {"how": how, "failures": 1})
    assert ended(job) == ["succeeded"]
    assert attempts(job) == ["RETRY", "SUCCESS"]


@pytest.mark.parametrize(
    ("how", "expected", "reason"),
    [
        ("raise", ["RETRY", "RETRY", "FAILURE"], "exhausted"),
        ("permanent", ["FAILURE"], "permanent"),
        ("kill", ["RETRY", "RETRY", "FAILURE"], "worker_lost"),
        ("hang", ["RETRY", "RETRY", "FAILURE"], "time_limit"),
    ],
)
def test_a_job_past_help_is_a_dead_letter_with_its_cause(how, expected, reason):
    job = enqueue("probe.fail", {"how": how, "failures": 9})
    assert ended(job) == ["dead"]
    assert attempts(job) == expected
    letter = collected(job=job)
    assert letter.reason == reason
    assert [death["reason"] for death in letter.properties["deaths"]] == ["rejected"]


def test_a_poison_job_is_dead_after_three_processes_with_the_evidence():
    job = enqueue("probe.poison")
    assert ended(job) == ["dead"]
    assert attempts(job) == ["RETRY", "RETRY", "FAILURE"], "its policy would allow nine"
    letter = collected(job=job)
    assert (letter.reason, job.lost_deliveries, letter.evidence["signal"]) == ("worker_lost", 3, "SIGKILL")
    assert letter.evidence["process_id"] > 0
    assert letter.evidence["log"][-1].endswith("this is the end")


def test_a_replayed_job_starts_with_all_its_attempts():
    job = enqueue("probe.fail", {"how": "raise", "failures": 4})
    assert ended(job) == ["dead"]
    replaying.replay(collected(job=job).pk, requested_by="ada")
    assert ended(job) == ["succeeded"]
    assert attempts(job) == ["RETRY", "RETRY", "FAILURE", "RETRY", "SUCCESS"]


def test_a_running_job_stops_at_its_next_checkpoint(tmp_path):
    trace = tmp_path / "trace"
    job = enqueue("probe.sleep", {"seconds": 60, "trace": str(trace)})
    wait_for(lambda: len(lines(trace)) == 1, "the job to begin")
    cancel(job.pk)
    assert ended(job) == ["cancelled"]


def test_a_cancelled_waiting_job_never_runs(tmp_path):
    trace = tmp_path / "trace"
    with transaction.atomic():  # its message leaves after the cancellation
        job = enqueue("probe.echo", {"trace": str(trace)})
        cancel(job.pk)
    after = enqueue("probe.echo")
    assert ended(job, after) == ["cancelled", "succeeded"]
    wait_for(lambda: job.events.filter(kind="duplicate").exists(), "its message to be dropped")
    assert lines(trace) == []


def collected(**which: object) -> DeadLetter:
    """The one letter that ``which`` names, once the broker's evidence is with it."""
    found = DeadLetter.objects.filter(**which, collected_at__isnull=False)
    wait_for(lambda: found.exists(), f"a dead letter of {which}")
    return found.get()


GOOD_BODY = b"[[], {}, {}]"
JSON = {"content_type": "application/json"}
NO_JOB = "the id of a job that is not there"
GARBAGE = {
    "not JSON": (b"\xff\xfe\x00", JSON, NO_JOB, "undecodable"),
    "truncated JSON": (b"[[], {}", JSON, NO_JOB, "undecodable"),
    "pickle": (b"\x80\x04N.", {"content_type": "application/x-python-serialize"}, NO_JOB, "undecodable"),
    "no content type": (GOOD_BODY, {}, NO_JOB, "undecodable"),
    "bad compression": (GOOD_BODY, {**JSON, "content_encoding": "no-such"}, "", "unknown_message"),
    "no headers": (b"{}", JSON, None, "unknown_message"),
    "text": ("häh?".encode("latin-1"), {"content_type": "text/plain"}, None, "undecodable"),
    "arguments": (b'[["x"], {}, {}]', JSON, NO_JOB, "unknown_message"),
    "keyword list": (b"[[], [1], {}]", JSON, NO_JOB, "unknown_message"),
    "protocol 1": (b'{"task": "probe.echo", "id": "1", "args": []}', JSON, None, "unknown_message"),
    "id without attempt": (GOOD_BODY, JSON, "bad-id", "unknown_message"),
    "job that is not there": (GOOD_BODY, JSON, NO_JOB, "unknown_message"),
    "ten megabytes": (b"x" * 10_000_000, JSON, NO_JOB, "undecodable"),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_becomes_a_dead_letter_with_its_bytes(platform, worker, kind):
    body, properties, id_header, reason = GARBAGE[kind]
    message_id = uuid.uuid4().hex
    headers = (
        {}
        if id_header is None
        else {"task": "probe.echo", "id": f"{uuid.uuid4()}.1" if id_header == "id" else id_header}
    )
    with Connection(platform["BROKER_URL"]) as connection:
        message = amqp.Message(body, application_headers=headers, message_id=message_id, delivery_mode=2, **properties)
        connection.default_channel.basic_publish(message, "work-exchange", "work")
        connection.default_channel.queue_declare("work-queue", passive=True)
    letter = collected(properties__message_id=message_id)
    assert (letter.reason, bytes(letter.body)) == (reason, body)
    assert worker.process.poll() is None


def test_a_routing_key_that_is_not_text_ends_no_worker(platform, worker):
    """py-amqp raises while it reads such a delivery, before any handler sees it."""
    message_id = uuid.uuid4().hex
    with Connection(platform["BROKER_URL"]) as connection:
        message = amqp.Message(b"x", content_type="text/plain", message_id=message_id)
        channel = connection.default_channel
        channel.send_method(
            amqp.spec.Basic.Publish, "Bssbb", (0, "notification-exchange", OddKey("odd"), False, False), message
        )
        channel.queue_declare("work-queue", passive=True)
    found = DeadLetter.objects.filter(properties__message_id=message_id)
    wait_for(lambda: found.count() == 3, "a dead letter from each of the three queues")
    assert {letter.routing_key for letter in found} == {"\\xff\\xfe"}
    assert worker.process.poll() is None
    assert ended(enqueue("probe.echo")) == ["succeeded"]


class OddKey(str):
    """Text that travels as bytes which are no UTF-8."""

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


def test_a_task_that_this_build_does_not_know_ends_its_job_and_can_be_replayed():
    job = enqueue("probe.echo", delay_seconds=0.3)
    Job.objects.filter(pk=job.pk).update(task="gone.gone")
    assert ended(job) == ["dead"]
    letter = collected(job=job)
    assert letter.reason == "unknown_task"
    Job.objects.filter(pk=job.pk).update(task="probe.echo")
    replaying.replay(letter.pk)
    assert ended(job) == ["succeeded"]


def test_a_misaddressed_message_is_a_dead_letter(platform):
    with Connection(platform["BROKER_URL"]) as connection:
        message = amqp.Message(b'{"type": "email"}', message_id=(message_id := uuid.uuid4().hex))
        connection.default_channel.basic_publish(message, "email-exchange", "emial")
        connection.default_channel.queue_declare("work-queue", passive=True)
    letter = collected(properties__message_id=message_id)
    assert (letter.reason, letter.exchange, letter.routing_key) == ("unrouted", "email-exchange", "emial")


def test_an_expired_job_is_dead_before_it_began():
    from datetime import timedelta

    from django.utils import timezone

    job = enqueue("probe.echo", delay_seconds=1, expires_at=timezone.now() + timedelta(seconds=1.05))
    Job.objects.filter(pk=job.pk).update(expires_at=job.created_at)
    assert ended(job) == ["dead"]
    assert collected(job=job).reason == "expired"
