from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import insertion
from tasks.api import IdempotencyConflict, InvalidJob, UnknownTask, enqueue, enqueue_many
from tasks.models import Batch, Job, JobEvent
from tasks.states import JobState
from tests.unit.tasks.factories import kinds

pytestmark = pytest.mark.django_db

SOON = timezone.now() + timedelta(days=1)


def texts(batch: Batch) -> list[str]:
    return [job.payload["text"] for job in batch.jobs.order_by("id")]


@pytest.mark.parametrize("count", [0, 3, insertion.COPY_FROM + 10])
def test_each_payload_becomes_a_job_published_once_it_is_committed(outbox, django_capture_on_commit_callbacks, count):
    with django_capture_on_commit_callbacks(execute=True):
        batch = enqueue_many("probe.echo", ({"text": str(n)} for n in range(count)), name="n", requested_by="ada")
        assert outbox == []
    batch = Batch.objects.get(pk=batch.pk)
    assert (batch.name, batch.total, batch.requested_by) == ("n", count, "ada")
    assert texts(batch) == [str(n) for n in range(count)]
    jobs = list(batch.jobs.order_by("id"))
    assert [(message.job_id, message.attempt, message.queue) for message in outbox] == [
        (job.pk, 1, "work-queue") for job in jobs
    ]
    assert {tuple(kinds(job)) for job in jobs} == ({("queued",)} if count else set())


@given(
    options=st.fixed_dictionaries(
        {},
        optional={
            "priority": st.sampled_from(["normal", "high"]),
            "run_at": st.just(SOON),
            "expires_at": st.just(SOON + timedelta(days=1)),
            "correlation_id": st.text("a\t\n\\ü😀", max_size=9),
            "requested_by": st.text("a\t\n\\ü😀", max_size=9),
            "metadata": st.dictionaries(st.text("a\\ü", max_size=3), st.integers() | st.none()),
        },
    ),
    text=st.text("a\t\r\n\\\"'ü😀", max_size=30),
    copied=st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_job_of_many_is_a_job_like_any_other(outbox, monkeypatch, options, text, copied):
    monkeypatch.setattr(insertion, "COPY_FROM", 1 if copied else 1000)
    with transaction.atomic():
        batch = enqueue_many("probe.echo", [{"text": text}], **options)
        enqueue("probe.echo", {"text": text}, batch=batch, **options)
        of_many, single = (_without_identity(job) for job in batch.jobs.order_by("id"))
        transaction.set_rollback(True)
    assert of_many == single


def _without_identity(job: Job) -> dict[str, Any]:
    row = Job.objects.values().get(pk=job.pk)
    event = JobEvent.objects.values("kind", "attempt", "detail").get(job=job)
    return {name: value for name, value in row.items() if name not in ("id", "created_at", "queued_at")} | event


def test_a_later_batch_is_scheduled_and_not_published(outbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        batch = enqueue_many("probe.echo", [{}] * (insertion.COPY_FROM), delay_seconds=60)
    assert batch.progress() == {JobState.SCHEDULED: insertion.COPY_FROM}
    assert outbox == []


def test_one_wrong_payload_keeps_all_from_being_stored(outbox):
    with pytest.raises(InvalidJob) as caught:
        enqueue_many("probe.echo", [{}, {"seconds": "long"}, {}, {"seconds": "x", "failures": None}, []])  # type: ignore[list-item]
    assert [problem["field"] for problem in caught.value.problems] == [
        "payloads.1.seconds", "payloads.3.seconds", "payloads.3.failures", "payloads.4",
    ]  # fmt: skip
    assert (Job.objects.count(), Batch.objects.count()) == (0, 0)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"priority": "urgent"}, "priority"),
        ({"name": "a\0b"}, "name"),
        ({"idempotency_key": "k" * 201}, "idempotency_key"),
    ],
)
def test_a_wrong_option_is_named(outbox, options, field):
    with pytest.raises(InvalidJob, match=field):
        enqueue_many("probe.echo", [{}], **options)
    assert Batch.objects.count() == 0


def test_an_unknown_task_is_refused(outbox):
    with pytest.raises(UnknownTask):
        enqueue_many("nope.nope", [])


def test_a_rolled_back_batch_leaves_nothing(outbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        enqueue_many("probe.echo", [{}] * 100)
        transaction.set_rollback(True)
    assert (outbox, Job.objects.count(), Batch.objects.count()) == ([], 0, 0)


def test_the_same_key_returns_the_first_batch(outbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        first = enqueue_many("probe.echo", [{"text": "a"}, {"text": "b"}], idempotency_key="k")
        again = enqueue_many("probe.echo", [{"text": "a"}, {"text": "b"}], idempotency_key="k")
    assert again == first
    assert (Job.objects.count(), len(outbox)) == (2, 2)


@pytest.mark.parametrize(("task", "payloads"), [("probe.echo", [{"text": "b"}]), ("probe.fail", [{"text": "a"}])])
def test_the_same_key_with_other_jobs_is_a_conflict(outbox, task, payloads):
    first = enqueue_many("probe.echo", [{"text": "a"}], idempotency_key="k")
    with pytest.raises(IdempotencyConflict, match=f"batch {first.pk}"):
        enqueue_many(task, payloads, idempotency_key="k")
    assert Job.objects.count() == 1


def test_a_batch_counts_its_jobs_by_state(outbox, django_assert_num_queries):
    batch = enqueue_many("probe.echo", [{}, {}, {}])
    enqueue("probe.echo", batch=batch)
    enqueue("probe.echo")
    Job.objects.filter(pk=batch.jobs.first().pk).update(state=JobState.DEAD, finished_at=timezone.now())
    with django_assert_num_queries(1):
        assert batch.progress() == {JobState.QUEUED: 3, JobState.DEAD: 1}
