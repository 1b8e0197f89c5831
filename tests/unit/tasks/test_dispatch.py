from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from tasks.api import IdempotencyConflict, InvalidJob, JobState, UnknownTask, enqueue
from tasks.models import Job
from tasks.worker.relay import publish_due
from tests.unit.tasks.factories import kinds
from tests.unit.tasks.worker.test_relay import FakeBroker

pytestmark = pytest.mark.django_db

YEAR_10000 = datetime(9999, 12, 31, 23, 59, tzinfo=timezone.get_fixed_timezone(-720))  # in UTC


def test_a_job_is_published_once_its_transaction_is_committed(outbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        job = enqueue("probe.echo", {"text": "x"})
        assert outbox == []
    assert [(message.job_id, message.attempt, message.queue) for message in outbox] == [(job.pk, 1, "work-queue")]
    assert kinds(job) == ["queued"]


def test_a_rolled_back_job_is_not_published(outbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        enqueue("probe.echo")
        transaction.set_rollback(True)
    assert (outbox, Job.objects.count()) == ([], 0)


def test_high_priority_has_a_queue_of_its_own(outbox):
    assert enqueue("probe.echo", priority="high").queue == "priority-queue"


@pytest.mark.parametrize("when", [{"delay_seconds": 60}, {"run_at": timezone.now() + timedelta(hours=1)}])
def test_a_later_job_is_scheduled_and_not_published(outbox, django_capture_on_commit_callbacks, when):
    with django_capture_on_commit_callbacks(execute=True):
        job = enqueue("probe.echo", **when)
    assert (job.state, outbox, kinds(job)) == (JobState.SCHEDULED, [], ["scheduled"])
    assert job.due_at > timezone.now()


def test_no_delay_is_no_schedule(outbox):
    assert enqueue("probe.echo", delay_seconds=0).state == JobState.QUEUED


def test_a_moment_that_has_passed_is_due_at_once_by_the_databases_clock(outbox):
    """Not by this host's, which may be ahead: the job would run too early."""
    job = enqueue("probe.echo", run_at=timezone.now() - timedelta(hours=1))
    assert job.state == JobState.SCHEDULED
    assert publish_due(FakeBroker()) == 1


def test_a_host_whose_clock_is_wrong_changes_no_moment_that_counts(outbox, monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: datetime.now(UTC) + timedelta(hours=5))
    queued, delayed = enqueue("probe.echo"), enqueue("probe.echo", delay_seconds=60)
    now = datetime.now(UTC)
    assert abs(queued.queued_at - now) < timedelta(minutes=1)
    assert abs(queued.created_at - now) < timedelta(minutes=1)
    assert timedelta(0) < delayed.due_at - now < timedelta(minutes=2)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"priority": "urgent"}, "priority"),
        ({"delay_seconds": -1}, "delay_seconds"),
        ({"delay_seconds": float("nan")}, "delay_seconds"),
        ({"delay_seconds": 1e30}, "delay_seconds"),
        ({"delay_seconds": 1, "run_at": timezone.now()}, "run_at"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at"),
        ({"expires_at": datetime(2030, 1, 1)}, "expires_at"),
        ({"expires_at": YEAR_10000}, "expires_at"),
        ({"run_at": YEAR_10000}, "run_at"),
        ({"run_at": datetime(1, 1, 1, tzinfo=timezone.get_fixed_timezone(600))}, "run_at"),
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "expires_at"),
        ({"expires_at": timezone.now() + timedelta(seconds=5), "delay_seconds": 60}, "expires_at"),
        ({"idempotency_key": "k" * 201}, "idempotency_key"),
        ({"correlation_id": "a\0b"}, "correlation_id"),
        ({"metadata": {"a": "x" * 20_000}}, "metadata"),
        ({"metadata": [1]}, "metadata"),
    ],
)
def test_a_bad_option_is_named_and_nothing_is_stored(outbox, options, field):
    with pytest.raises(InvalidJob) as caught:
        enqueue("probe.echo", **options)
    assert [problem["field"] for problem in caught.value.problems] == [field]
    assert Job.objects.count() == 0


def test_an_unknown_task_is_refused(outbox):
    with pytest.raises(UnknownTask):
        enqueue("nope.nope")


def test_the_same_key_returns_the_first_job(outbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        first = enqueue("probe.echo", {"text": "x"}, idempotency_key="k")
        again = enqueue("probe.echo", {"text": "x"}, idempotency_key="k")
        other = enqueue("probe.fail", {"text": "x"}, idempotency_key="k")
    assert first == again != other
    assert len(outbox) == 2


def test_the_same_key_with_another_payload_is_a_conflict(outbox):
    first = enqueue("probe.echo", {"text": "x"}, idempotency_key="k")
    with pytest.raises(IdempotencyConflict, match=str(first.pk)):
        enqueue("probe.echo", {"text": "y"}, idempotency_key="k")


def test_celerys_own_door_makes_a_job_too(outbox):
    from celery import current_app

    result = current_app.tasks["probe.echo"].delay(text="x")
    job = Job.objects.get()
    assert (result.id, job.payload["text"]) == (f"{job.pk}.1", "x")


def test_celerys_own_door_refuses_positional_arguments(outbox):
    from celery import current_app

    with pytest.raises(InvalidJob, match="keyword arguments"):
        current_app.tasks["probe.echo"].delay("x")
