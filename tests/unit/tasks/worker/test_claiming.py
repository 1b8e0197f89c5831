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
from tasks.models import DeadLetter, Job, JobEvent, WorkerProcess
from tasks.states import JobState
from tasks.worker import claiming
from tasks.worker.claiming import Answer, claim, hand_back
from tasks.worker.envelope import Envelope
from tasks.worker.outcome import Outcome
from tasks.worker.recording import Ended, record
from tests.unit.tasks.factories import kinds, make_job, make_worker

pytestmark = pytest.mark.django_db
postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite never holds a single row")


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


@pytest.mark.parametrize("count", [1, 50])
def test_however_many_messages_are_duplicates_they_are_explained_and_told_together(
    django_assert_max_num_queries, count
):
    """After a lost connection there may be thousands."""
    worker = make_worker()
    jobs = [make_job(JobState.RUNNING, worker=worker) for _ in range(count)]
    with django_assert_max_num_queries(9):
        claims = claim([replace(message_of(job), redelivered=True) for job in jobs], worker)
    assert [claimed.answer for claimed in claims] == [Answer.DROP] * count
    events = JobEvent.objects.values_list("job", "kind", "attempt", "detail")
    detail = {"worker": "w@test", "state": "running", "job_attempt": 1, "redelivered": True}
    assert list(events.order_by("job")) == [(job.pk, "duplicate", 1, detail) for job in jobs]


def test_messages_that_are_all_claimed_need_no_explanation(monkeypatch):
    monkeypatch.setattr(Job.objects, "select_related", lambda *_: pytest.fail("nothing is left to explain"))
    assert claim([message_of(make_job()), message_of(make_job())], make_worker())[1].answer is Answer.RUN


@postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("lock", "told"), [("FOR UPDATE", []), ("FOR NO KEY UPDATE", ["duplicate"])])
def test_a_duplicate_of_a_held_row_is_dropped_at_once_and_told_where_that_can_be(second_connection, lock, told):
    """A mere change of the row is in nobody's way."""
    worker = make_worker()
    held, free = (make_job(JobState.RUNNING, worker=worker) for _ in range(2))
    second_connection(f"SELECT 1 FROM tasks_job WHERE id = %s {lock}", held.pk)
    claims = claim([message_of(held), message_of(free)], worker)
    assert [claimed.answer for claimed in claims] == [Answer.DROP, Answer.DROP]
    assert (kinds(held), kinds(free)) == (told, ["duplicate"])


@postgresql
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


def test_an_attempt_is_lost_once_however_many_of_its_messages_come_together():
    job, worker = make_job(JobState.RUNNING, worker=make_worker(pid=gone_process_id())), make_worker()
    claims = claim([message_of(job)] * 3, worker)
    assert [claimed.answer for claimed in claims] == [Answer.DROP] * 3
    assert kinds(job) == ["retrying", "duplicate", "duplicate"]
    detail = {"worker": "w@test", "state": "retrying", "job_attempt": 1}
    assert [event.detail for event in job.events.filter(kind="duplicate")] == [detail] * 2


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
    hand_back([(job.pk, 1)], worker, why="test")
    Job.objects.filter(pk=job.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert claim([Envelope(job.pk, 2, job.task)], worker)[0].answer is Answer.RUN


def test_a_handed_back_attempt_is_not_spent(outbox, django_capture_on_commit_callbacks):
    job, worker = make_job(), make_worker()
    (ghost,) = claim([message_of(job)], worker)
    with django_capture_on_commit_callbacks(execute=True):
        (handed_back,), held = hand_back([(job.pk, 1)], worker, why="test")
    assert ((handed_back.pk, handed_back.attempt, handed_back.task), held) == ((job.pk, 1, job.task), set())
    job.refresh_from_db()
    assert (job.state, job.attempt - job.attempt_base, job.worker) == (JobState.QUEUED, 0, None)
    assert [message.attempt for message in outbox] == [2]
    assert [claim([message_of(job, attempt)], worker)[0].answer for attempt in (1, 2)] == [Answer.DROP, Answer.RUN]
    assert record([Ended(ghost.job, Outcome(succeeded=True, result="ghost"), "w")]) == [None]
    job.refresh_from_db()
    assert (job.state, job.result) == (JobState.RUNNING, None)


def test_what_is_handed_back_is_told_with_its_reason():
    worker = make_worker()
    job = make_job(JobState.RUNNING, attempt=3, worker=worker)
    hand_back([(job.pk, 3)], worker, why="the worker was stopped")
    assert [(event.kind, event.attempt, event.detail) for event in job.events.all()] == [
        ("handed_back", 3, {"why": "the worker was stopped"})
    ]


def test_a_handed_back_job_that_was_cancelled_meanwhile_is_cancelled(outbox, django_capture_on_commit_callbacks):
    jobs, worker = [make_job(), make_job(), make_job()], make_worker()
    claim([message_of(job) for job in jobs], worker)
    cancel(jobs[1].pk)
    with django_capture_on_commit_callbacks(execute=True):
        hand_back([(job.pk, 1) for job in jobs], worker, why="test")
    states = [Job.objects.get(pk=job.pk).state for job in jobs]
    assert states == [JobState.QUEUED, JobState.CANCELLED, JobState.QUEUED]
    assert kinds(jobs[1])[-2:] == ["handed_back", "cancelled"]
    assert {message.job_id for message in outbox} == {jobs[0].pk, jobs[2].pk}


@pytest.mark.parametrize("count", [1, 50])
def test_however_many_attempts_are_handed_back_together(django_assert_max_num_queries, count):
    worker = make_worker()
    jobs = [make_job(JobState.RUNNING, worker=worker) for _ in range(count)]
    with django_assert_max_num_queries(6):
        handed_back = hand_back([(job.pk, 1) for job in jobs], worker, why="test")
    assert ({job.pk for job in handed_back.jobs}, handed_back.held) == ({job.pk for job in jobs}, set())
    assert [kinds(job) for job in jobs] == [["handed_back"]] * count


def test_with_nothing_to_hand_back_nobody_is_asked(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert hand_back([], WorkerProcess(), why="test") == ([], set())


def test_an_attempt_that_is_named_twice_is_handed_back_once():
    worker = make_worker()
    job = make_job(JobState.RUNNING, worker=worker)
    assert len(hand_back([(job.pk, 1)] * 2, worker, why="test").jobs) == 1
    job.refresh_from_db()
    assert (job.attempt_base, kinds(job)) == (1, ["handed_back"])


def test_an_attempt_that_has_moved_on_is_neither_handed_back_nor_held():
    worker = make_worker()
    mine = make_job(JobState.RUNNING, worker=worker)
    others = [
        make_job(JobState.RUNNING, attempt=2, worker=worker),
        make_job(JobState.SUCCEEDED, worker=worker),
        make_job(attempt=1, attempt_base=1),
    ]
    attempts = [(id, 1) for id in (mine.pk, *(job.pk for job in others), uuid.uuid4())]
    handed_back = hand_back(attempts, worker, why="test")
    assert ([job.pk for job in handed_back.jobs], handed_back.held) == ([mine.pk], set())
    assert [kinds(job) for job in others] == [[]] * 3


@postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lock", ["FOR UPDATE", "FOR NO KEY UPDATE"])
def test_a_row_that_somebody_holds_is_not_handed_back_and_holds_up_nobody(second_connection, outbox, lock):
    worker = make_worker()
    held, free, moved_on = (make_job(JobState.RUNNING, worker=owner) for owner in (worker, worker, make_worker()))
    for row in (held, moved_on):
        second_connection(f"SELECT 1 FROM tasks_job WHERE id = %s {lock}", row.pk)
    attempts = [(job.pk, 1) for job in (held, free, moved_on)]

    handed_back = hand_back(attempts, worker, why="test")

    assert ([job.pk for job in handed_back.jobs], handed_back.held) == ([free.pk], {(held.pk, 1)})
    held.refresh_from_db()
    assert (held.state, held.worker, held.attempt_base, kinds(held)) == (JobState.RUNNING, worker, 0, [])
    assert [message.job_id for message in outbox] == [free.pk]
    second_connection("COMMIT")
    assert [job.pk for job in hand_back([(held.pk, 1)], worker, why="test").jobs] == [held.pk]


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
