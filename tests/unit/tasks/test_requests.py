"""Who waits for an outcome, and what comes of it for them alone."""

from datetime import timedelta

import pytest
from django.utils import timezone

from tasks import requests, waiting
from tasks.api import CallFailed, CallTimedOut, InvalidJob, call, enqueue, late_reply
from tasks.brokers import memory
from tasks.models import Job, Request
from tasks.states import JobState
from tasks.worker import replies
from tests.unit.tasks.factories import make_job

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]


@pytest.fixture
def sent() -> list:
    memory.replies.clear()
    return memory.replies


def ask(**values) -> Job:
    return enqueue("probe.echo", {"text": "x"}, **{"reply_to": "answers", "correlation_id": "c-1", **values})


def end(job: Job, state: str = JobState.SUCCEEDED, **values) -> None:
    Job.objects.filter(pk=job.pk).update(state=state, finished_at=timezone.now(), **values)


def send() -> int:
    return replies.send_owed(memory.connect(""))


def test_a_reply_is_owed_and_sent_once_the_job_has_ended(sent):
    job = ask()
    assert (send(), sent) == (0, [])
    end(job, result={"text": "x"})
    assert [send(), send()] == [1, 0]
    (reply,) = sent
    assert (reply.to, reply.correlation_id) == ("answers", "c-1")
    assert replies.body_of(Job.objects.get(), "c-1") == {
        "version": 1,
        "correlationId": "c-1",
        "jobId": str(job.pk),
        "task": "probe.echo",
        "state": "succeeded",
        "finishedAt": Job.objects.get().finished_at.isoformat(),
        "result": {"text": "x"},
    }
    assert Request.objects.get().answered_at is not None


@pytest.mark.parametrize("state", [JobState.DEAD, JobState.CANCELLED])
def test_what_did_not_succeed_is_told_with_its_error(sent, state):
    end(ask(), state, error="ValueError: no")
    send()
    assert b'"error": "ValueError: no"' in sent[0].body


def test_a_reply_whose_queue_is_gone_is_kept_and_sent_to_nobody(sent):
    job = ask(reply_to="gone", requested_by="ada")
    end(job)
    assert [send(), send()] == [1, 0]
    assert sent == []
    request = Request.objects.get()
    assert (request.answered_at, request.trouble) == (None, replies.GONE)
    kept = late_reply("c-1", requested_by="ada")
    assert kept is not None
    assert kept.pk == job.pk
    assert Request.objects.get().fetched_at is not None


def test_a_request_that_comes_twice_is_answered_once(sent):
    for _ in range(2):
        job = ask(idempotency_key="k")
    end(job)
    send()
    assert len(sent) == 1


def test_who_asks_again_from_another_queue_is_answered_there(sent):
    end(ask(idempotency_key="k"))
    send()
    ask(idempotency_key="k", reply_to="answers-2")
    send()
    assert [reply.to for reply in sent] == ["answers", "answers-2"]


def test_each_reply_goes_to_its_own_caller(sent):
    jobs = {name: ask(reply_to=f"answers-{name}", correlation_id=name) for name in ("ada", "bob")}
    for name, job in jobs.items():
        end(job, result=name)
    send()
    assert {(reply.to, reply.correlation_id) for reply in sent} == {("answers-ada", "ada"), ("answers-bob", "bob")}
    assert all(f'"result": "{reply.correlation_id}"'.encode() in reply.body for reply in sent)


@pytest.mark.parametrize(
    "reply_to", ["email-queue", "work-queue.dead", "unrouted-queue", "amq.gen-x", "x" * 256, "a\0b", "a\nb"]
)
def test_a_queue_that_is_not_the_callers_is_refused(reply_to):
    with pytest.raises(InvalidJob, match="reply_to"):
        ask(reply_to=reply_to)
    assert not Job.objects.exists()


def test_a_direct_reply_to_is_a_callers_own():
    ask(reply_to="amq.rabbitmq.reply-to.g1h2AA5yZXBseUA")
    assert Request.objects.count() == 1


def test_without_a_reply_to_nothing_is_noted():
    enqueue("probe.echo", {})
    assert not Request.objects.exists()


# Calls. The test's transaction is no caller's.


@pytest.fixture
def waits(monkeypatch):
    """Waiting ends at once, after ``waits.then`` was called with the job."""

    class Waits:
        then = staticmethod(lambda job_id: None)

        def wait(self, job_id, seconds, *, limited, before):
            before()
            self.then(job_id)
            return True

    found = Waits()
    monkeypatch.setattr(waiting, "wait", found.wait)
    monkeypatch.setattr(requests, "connection", type("Outside", (), {"in_atomic_block": False}))
    return found


def test_a_call_returns_what_the_job_returned(waits):
    waits.then = lambda job_id: end(Job(pk=job_id), result={"text": "x"})
    assert call("probe.echo", {"text": "x"}) == {"text": "x"}
    assert Request.objects.get().answered_at is not None


@pytest.mark.parametrize("state", [JobState.DEAD, JobState.CANCELLED])
def test_a_call_whose_job_did_not_succeed_says_so(waits, state):
    waits.then = lambda job_id: end(Job(pk=job_id), state, error="ValueError: no")
    with pytest.raises(CallFailed, match=f"is {state}: ValueError: no"):
        call("probe.echo", {})


def test_a_call_that_takes_too_long_can_be_fetched_later_by_its_caller_alone(waits):
    with pytest.raises(CallTimedOut) as caught:
        call("probe.echo", {}, timeout_seconds=0.1, requested_by="ada")
    late = caught.value.correlation_id
    assert Request.objects.get().timed_out_at is not None
    assert late_reply(late, requested_by="ada") is None
    end(Job.objects.get(), result=7)
    with pytest.raises(Request.DoesNotExist):
        late_reply(late, requested_by="bob")
    job = late_reply(late, requested_by="ada")
    assert job is not None
    assert job.result == 7


def test_a_call_in_a_transaction_is_refused():
    with pytest.raises(InvalidJob, match="call it after the commit"):
        call("probe.echo", {})
    assert not Job.objects.exists()


# The desk.


def asked(*, ago: float, **values) -> Request:
    """A request of ``ago`` seconds."""
    job = make_job(values.pop("state", JobState.QUEUED))
    made = Request.objects.create(job=job, reply_to="answers", **values)
    Request.objects.filter(pk=made.pk).update(asked_at=timezone.now() - timedelta(seconds=ago))
    return made


def test_the_desk_says_who_waits_who_gave_up_and_what_is_kept():
    oldest = asked(ago=300)
    asked(ago=10, deadline_at=timezone.now() + timedelta(seconds=10))
    asked(ago=20, timed_out_at=timezone.now())
    asked(ago=20, deadline_at=timezone.now() - timedelta(seconds=1), state=JobState.SUCCEEDED)
    asked(ago=30, trouble="gone", state=JobState.SUCCEEDED)
    asked(ago=30, trouble="gone", state=JobState.SUCCEEDED, fetched_at=timezone.now())
    asked(ago=7300, trouble="gone", state=JobState.SUCCEEDED)
    oldest.refresh_from_db()
    desk = requests.desk()
    assert (desk.waiting, desk.oldest_at) == (2, oldest.asked_at)
    assert (desk.timed_out, desk.undeliverable, desk.unfetched) == (2, 2, 2)


def test_percentiles_are_those_of_the_replies_of_each_task():
    now = timezone.now()
    for milliseconds in range(1, 101):
        request = Request.objects.create(job=make_job(JobState.SUCCEEDED), answered_at=now)
        Request.objects.filter(pk=request.pk).update(asked_at=now - timedelta(milliseconds=milliseconds))
    (latency,) = requests.desk().latencies
    assert (latency.task, latency.replies) == ("probe.echo", 100)
    assert (latency.p50, latency.p95, latency.p99) == (0.050, 0.095, 0.099)
