import uuid

import pytest

from tasks.api import IllegalTransition, cancel, replay
from tasks.dead_letters import burial, replaying
from tasks.models import AuditEntry, DeadLetter, Job
from tasks.states import JobState
from tests.unit.tasks.factories import kinds, make_job

pytestmark = pytest.mark.django_db


def dead_job(**values):
    job = make_job(JobState.RUNNING, attempt=3, **values)
    burial.bury(job, JobState.RUNNING, reason="exhausted", error_type="ValueError", error="no\nmore", traceback="tb")
    return Job.objects.get(pk=job.pk)


@pytest.mark.parametrize("state", [JobState.SCHEDULED, JobState.QUEUED, JobState.RETRYING])
def test_a_waiting_job_is_cancelled_at_once(state):
    job = cancel(make_job(state).pk, requested_by="ada")
    assert (job.state, job.due_at) == (JobState.CANCELLED, None)
    assert job.events.get().detail == {"requested_by": "ada"}


def test_a_running_job_is_asked_to_stop_once():
    job = make_job(JobState.RUNNING)
    cancel(job.pk)
    asked = cancel(job.pk)
    assert asked.state == JobState.RUNNING
    assert asked.cancel_requested_at is not None
    assert kinds(job) == ["cancel_requested"]


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED])
def test_what_has_ended_can_not_be_cancelled(state):
    with pytest.raises(IllegalTransition, match=state):
        cancel(make_job(state).pk)


def test_a_job_that_is_not_there_can_not_be_cancelled():
    with pytest.raises(Job.DoesNotExist):
        cancel(uuid.uuid4())


def test_who_cancels_a_job_is_in_the_audit_trail():
    waiting, running = make_job(JobState.QUEUED), make_job(JobState.RUNNING)
    cancel(waiting.pk, requested_by="ada")
    cancel(running.pk, requested_by="ben")
    cancel(running.pk, requested_by="ben")  # asked again: it was marked already
    cancel(make_job(JobState.QUEUED).pk)  # nobody did
    found = AuditEntry.objects.order_by("id").values_list("actor", "verb", "subject", "count")
    assert list(found) == [
        ("ada", "jobs.cancel", f"job {waiting.pk}", 1),
        ("ben", "jobs.cancel", f"job {running.pk}", 1),
    ]


def test_a_refused_cancellation_is_not_in_the_audit_trail():
    with pytest.raises(IllegalTransition):
        cancel(make_job(JobState.DEAD).pk, requested_by="ada")
    assert not AuditEntry.objects.exists()


def test_a_replay_counts_its_attempts_anew(outbox, django_capture_on_commit_callbacks):
    job = dead_job()
    with django_capture_on_commit_callbacks(execute=True):
        again = replay(job.pk, requested_by="ada")
    assert (again.state, again.attempt, again.attempt_base, again.finished_at) == (JobState.QUEUED, 3, 3, None)
    assert [message.attempt for message in outbox] == [4]
    letter = DeadLetter.objects.get()
    assert (letter.state, letter.replayed_by) == ("replayed", "ada")
    assert kinds(job) == ["dead", "replayed"]


@pytest.mark.parametrize("state", [state for state in JobState if state != JobState.DEAD])
def test_only_a_dead_job_is_replayed(outbox, state):
    with pytest.raises(IllegalTransition, match=state):
        replay(make_job(state).pk)


def test_a_burial_keeps_the_cause():
    job = dead_job()
    letter = DeadLetter.objects.get(job=job)
    assert (letter.reason, letter.error_type, letter.traceback, letter.attempt) == ("exhausted", "ValueError", "tb", 3)
    assert (job.state, job.error) == (JobState.DEAD, "ValueError: no")


def test_the_second_burial_loses():
    job = make_job(JobState.RUNNING)
    assert burial.bury(job, JobState.RUNNING, reason="exhausted")
    assert not burial.bury(job, JobState.RUNNING, reason="worker_lost")
    assert DeadLetter.objects.get().reason == "exhausted"


def test_a_letter_is_replayed_once(outbox):
    dead_job()
    letter = DeadLetter.objects.get()
    replaying.replay(letter.pk)
    with pytest.raises(IllegalTransition, match="replayed, not open"):
        replaying.replay(letter.pk)


def test_a_letter_without_job_and_message_says_so():
    letter = DeadLetter.objects.create(reason="undecodable", queue="work-queue")
    with pytest.raises(IllegalTransition, match="holds no message"):
        replaying.replay(letter.pk)
    letter.refresh_from_db()
    assert letter.state == "open"
