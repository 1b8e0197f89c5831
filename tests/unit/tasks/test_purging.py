import random
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.test import TestCase
from django.utils import timezone

from tasks import brokers
from tasks.dead_letters import operations, preflight
from tasks.errors import InvalidOperation
from tasks.models import AuditEntry, Job, JobEvent, Operation, ParkedJob
from tasks.states import JobState
from tasks.worker.claiming import Answer, claim
from tasks.worker.envelope import Envelope
from tests.unit.tasks.factories import kinds, make_job, make_worker
from tests.unit.tasks.promises import check, lives_of

pytestmark = pytest.mark.django_db

committed = partial(TestCase.captureOnCommitCallbacks, execute=True)
advance = partial(operations.advance, 60)  # as far as it goes, on however slow a machine


def purge(**query: Any) -> Operation:
    with committed():
        query = {"queue": "work-queue", **query}
        operation = operations.start("purge", query, requested_by="ada", reason="a bad deploy")
    advance()
    operation.refresh_from_db()
    return operation


def put_back(purged: Operation) -> Operation:
    with committed():
        operation = operations.start("unpurge", {"operation": str(purged.pk)}, requested_by="bob")
    operation.refresh_from_db()
    return operation


def in_order() -> list[Any]:
    return list(Job.objects.filter(state=JobState.QUEUED).order_by("queued_at").values_list("pk", flat=True))


def make_queue(number: int, **values: Any) -> list[Job]:
    """Jobs that wait in another order than that in which they were made."""
    now = timezone.now()
    places = random.Random(4).sample(range(number), number)
    jobs = Job.objects.bulk_create(
        Job(task="probe.echo", queue="work-queue", queued_at=now - timedelta(seconds=place), **values)
        for place in places
    )
    JobEvent.objects.bulk_create(JobEvent(job=job, kind="queued") for job in jobs)
    return jobs


def test_of_1000_purged_and_restored_messages_the_same_jobs_wait_in_the_same_order(outbox):
    make_queue(1000)
    before = in_order()
    elsewhere, running = make_job(queue="email-queue"), make_job(JobState.RUNNING)
    purged = purge()
    assert (purged.state, purged.total, purged.done) == ("done", 1000, 1000)
    assert in_order() == [elsewhere.pk]
    assert Job.objects.filter(state=JobState.CANCELLED).count() == ParkedJob.objects.count() == 1000
    assert outbox == []

    restored = put_back(purged)
    assert (restored.state, restored.done, restored.undoes) == ("done", 1000, purged)
    assert [id for id in in_order() if id != elsewhere.pk] == before
    assert [(message.job_id, message.attempt) for message in outbox] == [(id, 2) for id in before]
    assert (ParkedJob.objects.count(), Job.objects.get(pk=running.pk).state) == (0, "running")
    for life in lives_of(before[:20]).values():
        check(life)

    again = purge()
    put_back(again)
    assert [id for id in in_order() if id != elsewhere.pk] == before, "the second time the order was lost"


def test_what_was_published_before_the_purge_is_dropped_and_what_was_published_after_it_runs(outbox):
    (job,) = make_queue(1, attempt=2, attempt_base=1)
    worker = make_worker()

    def answer(attempt: int) -> Answer:
        return claim([Envelope(job.pk, attempt, job.task, redelivered=False)], worker)[0].answer

    purged = purge()
    assert answer(3) is Answer.DROP, "it runs though it was purged"
    put_back(purged)
    assert answer(3) is Answer.DROP, "the message from before the purge still counts"
    assert [message.attempt for message in outbox] == [4]
    assert answer(4) is Answer.RUN
    assert answer(4) is Answer.DROP
    job.refresh_from_db()
    assert (job.attempt, job.attempt_base) == (4, 2), "the purge cost the job one of its attempts"


def test_scheduled_and_retrying_jobs_keep_their_time_where_they_are_purged_too(outbox):
    due = timezone.now() + timedelta(days=2)
    queued = make_job()
    others = [make_job(state, due_at=due, attempt=1) for state in (JobState.SCHEDULED, JobState.RETRYING)]
    assert purge().total == 1
    purged = purge(states=["scheduled", "retrying"])
    assert [Job.objects.get(pk=job.pk).state for job in others] == ["cancelled"] * 2
    assert kinds(others[0]) == ["purged"]
    put_back(purged)
    rows = [Job.objects.get(pk=job.pk) for job in others]
    assert [(row.state, row.due_at, row.attempt) for row in rows] == [("scheduled", due, 1), ("retrying", due, 1)]
    assert (outbox, Job.objects.get(pk=queued.pk).state) == ([], "cancelled")


def test_the_broker_is_not_asked(monkeypatch, outbox):
    """Others' messages may be in the queue."""
    monkeypatch.setattr(brokers, "connect", lambda: pytest.fail("the purge talked to the broker"))
    make_queue(3)
    assert purge().done == 3


def test_a_job_that_is_claimed_before_its_turn_is_left_out(outbox):
    first, second = make_queue(2)
    operation = operations.start("purge", {"queue": "work-queue"}, requested_by="ada", reason="a bad deploy")
    claim([Envelope(first.pk, 1, first.task, redelivered=False)], make_worker())
    late = make_job()
    advance()
    operation.refresh_from_db()
    assert (operation.done, operation.skipped, operation.state) == (1, {"moved_on": 1}, "done")
    states = [Job.objects.get(pk=job.pk).state for job in (first, second, late)]
    assert states == ["running", "cancelled", "queued"]


@pytest.mark.parametrize(
    "moved_on", [{"state": JobState.RETRYING, "due_at": timezone.now()}, {"queue": "email-queue"}, {"attempt": 1}]
)
def test_a_job_that_has_moved_on_since_the_purge_was_confirmed_is_left_alone(outbox, moved_on):
    # given
    stays, goes = make_queue(2)
    operation = operations.start("purge", {"queue": "work-queue"}, requested_by="ada", reason="a bad deploy")

    # when
    Job.objects.filter(pk=stays.pk).update(**moved_on)
    advance()

    # then
    assert Job.objects.get(pk=stays.pk).state == moved_on.get("state", JobState.QUEUED)
    assert Job.objects.get(pk=goes.pk).state == JobState.CANCELLED
    operation.refresh_from_db()
    assert (operation.done, operation.skipped, operation.state) == (1, {"moved_on": 1}, "done")


def test_what_is_not_put_back_in_time_is_cancelled_for_good(outbox):
    make_queue(3)
    purged = purge()
    operation = operations.start("unpurge", {"operation": str(purged.pk)}, requested_by="bob")
    ParkedJob.objects.filter(place__gt=0).update(delete_at=timezone.now())
    advance()
    operation.refresh_from_db()
    assert (operation.done, operation.skipped, operation.state) == (1, {"moved_on": 2}, "done")
    with pytest.raises(InvalidOperation, match="matches nothing now"):
        put_back(purged)


def test_a_purge_that_goes_on_can_not_be_undone_yet():
    make_queue(1)
    going_on = operations.start("purge", {"queue": "work-queue"}, requested_by="ada", reason="a bad deploy")
    with pytest.raises(InvalidOperation, match="the purge still goes on"):
        put_back(going_on)


def test_many_are_put_back_a_thousand_at_a_time_with_time_to_publish_them_between(outbox):
    make_queue(1500)
    before = in_order()
    restored = put_back(purge())
    assert (restored.done, restored.waiting) == (1000, 500)
    Operation.objects.filter(pk=restored.pk).update(moved_at=timezone.now() - timedelta(seconds=2))
    with committed():
        advance()
    assert in_order() == before == [message.job_id for message in outbox]


def test_a_purge_is_in_the_audit_trail_by_its_queue(outbox):
    make_queue(2)
    put_back(purge())
    entries = AuditEntry.objects.order_by("id").values_list("actor", "verb", "subject", "count", "reason")
    assert list(entries) == [
        ("ada", "queues.purge", "work-queue", 2, "a bad deploy"),
        ("bob", "queues.restore", "work-queue", 2, ""),
    ]


def test_a_preflight_counts_what_waits():
    make_queue(3)
    found = preflight.look("purge", {"queue": "work-queue"})
    assert (found.matched, found.will, found.skipped) == (3, 3, {})
