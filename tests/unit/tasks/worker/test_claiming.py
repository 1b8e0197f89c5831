import json
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from django_celery_results.models import TaskResult

from tasks.jobs import cancel
from tasks.models import DeadLetter, Job, JobEvent
from tasks.states import JobState
from tasks.worker import claiming
from tasks.worker.claiming import Answer, claim, hand_back
from tasks.worker.envelope import Envelope
from tasks.worker.outcome import Outcome
from tasks.worker.recording import Ended, record
from tests.unit.tasks.factories import kinds, make_job, make_worker

pytestmark = pytest.mark.django_db


def message_of(job: Job, attempt: int = 1) -> Envelope:
    return Envelope(job.pk, attempt, job.task)


def test_a_claim_returns_the_row_as_it_now_is():
    job, worker = make_job(payload={"text": "x"}), make_worker()
    (claimed,) = claim([message_of(job)], worker)
    assert claimed.answer is Answer.RUN
    assert (claimed.job.state, claimed.job.attempt, claimed.job.payload) == (JobState.RUNNING, 1, {"text": "x"})
    assert json.loads(claimed.payload) == {"text": "x"}
    assert claimed.job.worker_id == worker.pk
    assert kinds(job) == ["running"]


def test_a_claimed_row_is_the_row_whatever_is_asked_of_it():
    job = make_job(
        payload={"text": "ü"},
        metadata={"a": [1]},
        attempt=4,
        attempt_base=3,
        lost_deliveries=1,
        requested_by="ann",
        correlation_id="c",
        priority="urgent",
    )
    (claimed,) = claim([message_of(job, 5)], make_worker())
    job.refresh_from_db()
    for field in Job._meta.concrete_fields:
        assert getattr(claimed.job, field.attname) == getattr(job, field.attname), field.attname
    assert claimed.job == job
    assert not claimed.job._state.adding


def test_many_messages_are_claimed_together_in_their_order(django_assert_max_num_queries):
    jobs, worker = [make_job() for _ in range(50)], make_worker()
    with django_assert_max_num_queries(6):
        claims = claim([message_of(job) for job in reversed(jobs)], worker)
    assert [claimed.job.pk for claimed in claims] == [job.pk for job in reversed(jobs)]


def test_second_claim_loses():
    job, worker = make_job(), make_worker()
    claims = [claim([message_of(job)], worker)[0] for _ in range(2)]
    assert [claimed.answer for claimed in claims] == [Answer.RUN, Answer.DROP]
    assert kinds(job) == ["running", "duplicate"]


@pytest.mark.parametrize("known", [True, False])
def test_of_equal_messages_at_hand_the_first_wins(known):
    job = make_job()
    claims = claim([message_of(job)] * 3, make_worker(), in_hand=lambda attempt_id: known)
    assert [claimed.answer for claimed in claims] == [Answer.RUN, Answer.DROP, Answer.DROP]


def test_equal_messages_among_others_run_once_and_are_told_once_each():
    job, other = make_job(), make_job()
    claims = claim([message_of(job), message_of(other), message_of(job), message_of(job)], make_worker())
    assert [claimed.answer for claimed in claims] == [Answer.RUN, Answer.RUN, Answer.DROP, Answer.DROP]
    assert (kinds(job), kinds(other)) == (["running", "duplicate", "duplicate"], ["running"])


@pytest.mark.parametrize("attempts", [(1, 2), (2, 1), (3, 2, 1)])
def test_of_messages_for_several_attempts_of_a_job_the_next_one_runs(attempts):
    job = make_job()
    claims = claim([message_of(job, attempt) for attempt in attempts], make_worker())
    ran = {attempt: claimed.answer is Answer.RUN for attempt, claimed in zip(attempts, claims, strict=True)}
    assert ran == {attempt: attempt == 1 for attempt in attempts}
    job.refresh_from_db()
    assert (job.state, job.attempt) == (JobState.RUNNING, 1)


def test_whoever_can_not_be_claimed_costs_the_others_nothing():
    expired = make_job(expires_at=timezone.now() - timedelta(seconds=1))
    dead, running, first, second = make_job(JobState.DEAD), make_job(JobState.RUNNING), make_job(), make_job()
    unknown = Envelope(uuid.uuid4(), 1, "probe.echo")
    asked = [message_of(expired), message_of(first), unknown, message_of(dead), message_of(running), message_of(second)]
    worker = make_worker()
    Job.objects.filter(pk=running.pk).update(worker=make_worker())
    answers = [claimed.answer for claimed in claim(asked, worker)]
    assert answers == [Answer.REJECT, Answer.RUN, Answer.REJECT, Answer.REJECT, Answer.DROP, Answer.RUN]
    expired.refresh_from_db()
    assert (expired.state, DeadLetter.objects.get(job=expired).reason) == (JobState.DEAD, "expired")


def test_a_redelivered_message_is_told_as_such():
    plain, again = make_job(), make_job()
    claim([message_of(plain), replace(message_of(again), redelivered=True)], make_worker())
    details = [JobEvent.objects.get(job=job).detail for job in (plain, again)]
    assert details == [{"worker": "w@test"}, {"worker": "w@test", "redelivered": True}]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite never holds a single row")
@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_holds_is_left_to_the_relay_and_holds_up_nobody(second_connection):
    held, free = make_job(), make_job()
    second_connection("SELECT 1 FROM tasks_job WHERE id = %s FOR UPDATE", held.pk)
    claims = claim([message_of(held), message_of(free)], make_worker())
    assert [claimed.answer for claimed in claims] == [Answer.DROP, Answer.RUN]
    held.refresh_from_db()
    assert (held.state, kinds(held)) == (JobState.QUEUED, [])


@pytest.mark.parametrize("state", [JobState.RETRYING, JobState.SCHEDULED, JobState.SUCCEEDED, JobState.CANCELLED])
def test_a_message_for_a_job_that_moved_on_is_dropped(state):
    job = make_job(state)
    assert claim([message_of(job)], make_worker())[0].answer is Answer.DROP
    job.refresh_from_db()
    assert job.state == state


def test_an_old_attempts_message_does_not_start_the_next_one():
    job = make_job(attempt=3)
    assert claim([message_of(job, 3)], make_worker())[0].answer is Answer.DROP
    assert claim([message_of(job, 4)], make_worker())[0].answer is Answer.RUN


def test_an_expired_job_is_buried():
    job = make_job(expires_at=timezone.now() - timedelta(seconds=1))
    assert claim([message_of(job)], make_worker())[0].answer is Answer.REJECT
    job.refresh_from_db()
    assert (job.state, DeadLetter.objects.get(job=job).reason) == (JobState.DEAD, "expired")


def test_a_message_of_a_dead_job_still_reaches_the_dead_queue():
    assert claim([message_of(make_job(JobState.DEAD))], make_worker())[0].answer is Answer.REJECT


def test_a_message_of_no_job_is_rejected():
    assert claim([Envelope(uuid.uuid4(), 1, "probe.echo")], make_worker())[0].answer is Answer.REJECT


def gone_process_id() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_redelivery_after_its_worker_died_counts_the_attempt_as_lost():
    dead = make_worker(pid=gone_process_id())
    job = make_job(JobState.RUNNING, worker=dead)
    assert claim([message_of(job)], make_worker())[0].answer is Answer.DROP
    job.refresh_from_db()
    assert (job.state, job.attempt) == (JobState.RETRYING, 1)
    assert TaskResult.objects.get().task_id == f"{job.pk}.1"


@pytest.mark.parametrize("owner", [{"pid": 1}, {"host": "elsewhere", "pid": 2**22 - 1}])
def test_a_redelivery_while_its_worker_may_live_is_a_duplicate(owner):
    job = make_job(JobState.RUNNING, worker=make_worker(**owner))
    claim([message_of(job)], make_worker())
    job.refresh_from_db()
    assert job.state == JobState.RUNNING
    assert kinds(job) == ["duplicate"]


def test_a_claim_whose_answer_was_lost_is_taken_up_by_its_own_worker():
    job, worker = make_job(), make_worker()
    claim([message_of(job)], worker)
    (again,) = claim([message_of(job)], worker, in_hand=lambda attempt_id: False)
    assert (again.answer, again.job.attempt) == (Answer.RUN, 1)
    (other,) = claim([message_of(job)], make_worker(), in_hand=lambda attempt_id: False)
    assert other.answer is Answer.DROP


def test_a_job_that_began_in_time_does_not_expire_later(outbox):
    job, worker = make_job(expires_at=timezone.now() + timedelta(hours=1)), make_worker()
    claim([Envelope(job.pk, 1, job.task)], worker)
    hand_back([(job.pk, 1)], why="test")
    Job.objects.filter(pk=job.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert claim([Envelope(job.pk, 2, job.task)], worker)[0].answer is Answer.RUN


def test_a_handed_back_attempt_is_not_spent(outbox, django_capture_on_commit_callbacks):
    job, worker = make_job(), make_worker()
    (ghost,) = claim([message_of(job)], worker)
    with django_capture_on_commit_callbacks(execute=True):
        hand_back([(job.pk, 1)], why="test")
    job.refresh_from_db()
    assert (job.state, job.attempt - job.attempt_base, job.worker) == (JobState.QUEUED, 0, None)
    assert [message.attempt for message in outbox] == [2]
    assert [claim([message_of(job, attempt)], worker)[0].answer for attempt in (1, 2)] == [Answer.DROP, Answer.RUN]
    assert record([Ended(ghost.job, Outcome(succeeded=True, result="ghost"), "w")]) == [None]
    job.refresh_from_db()
    assert (job.state, job.result) == (JobState.RUNNING, None)


def test_a_handed_back_job_that_was_cancelled_meanwhile_is_cancelled(outbox):
    job, worker = make_job(), make_worker()
    claim([message_of(job)], worker)
    cancel(job.pk)
    hand_back([(job.pk, 1)], why="test")
    job.refresh_from_db()
    assert (job.state, outbox) == (JobState.CANCELLED, [])


def test_a_job_that_is_not_expired_is_never_buried_as_such(monkeypatch):
    """Between the claim and the look at why it failed, another worker handed the job back."""
    job, worker = make_job(expires_at=timezone.now() + timedelta(hours=1)), make_worker()
    once = iter([{}])
    real = claiming._compare_and_set
    monkeypatch.setattr(claiming, "_compare_and_set", lambda *arguments: next(once, None) or real(*arguments))
    assert claim([message_of(job)], worker)[0].answer is Answer.RUN


def test_a_message_that_names_another_task_than_its_job_is_rejected():
    job = make_job()
    (answer,) = claim([Envelope(job.pk, 1, "probe.fail")], make_worker())
    job.refresh_from_db()
    assert (answer.answer, job.state) == (Answer.REJECT, JobState.QUEUED)


def test_an_attempt_that_is_recorded_just_while_its_duplicate_is_explained_does_not_run_again():
    job, worker = make_job(), make_worker()
    (first,) = claim([message_of(job)], worker)

    def in_hand(attempt_id: str) -> bool:
        record([Ended(first.job, Outcome(succeeded=True), worker.name)])  # by the recorder's thread, this very moment
        return False

    (again,) = claim([message_of(job)], worker, in_hand=in_hand)
    assert again.answer is Answer.DROP
