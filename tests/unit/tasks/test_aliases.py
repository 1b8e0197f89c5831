"""A task that was renamed: what bears its old name is its own, all the way."""

import pytest

from project.celery import app
from tasks.api import enqueue, enqueue_many
from tasks.dispatch import JobRequest, prepare, store
from tasks.errors import IdempotencyConflict
from tasks.models import Job
from tasks.worker.claiming import Answer, claim
from tasks.worker.envelope import Envelope, read_envelope
from tasks.worker.execution import Errand, run_attempt
from tasks.worker.supervision import WorkerLost, lost_outcome
from tests.unit.tasks.factories import make_job, make_worker

pytestmark = pytest.mark.django_db

OLD, NEW = "probe.old_name", "probe.renamed"


def errand_of(job: Job, payload: str) -> Errand:
    return Errand(
        task=job.task,
        job_id=str(job.pk),
        attempt=job.attempt,
        number=job.attempt,
        requested_by="",
        metadata={},
        payload=payload,
        delivery_info={},
    )


def test_what_is_enqueued_under_an_old_name_bears_the_new_one(outbox):
    batch = enqueue_many(OLD, [{}, {}])
    tasks = [enqueue(OLD).task, enqueue(NEW).task, *batch.jobs.values_list("task", flat=True)]
    assert tasks == [NEW] * 4


def test_a_job_of_the_old_name_is_claimed_and_run_by_the_new_function():
    job = make_job(task=OLD, payload={"text": "x"})
    envelope = read_envelope({"task": OLD, "id": f"{job.pk}.1"}, b"[[], {}, {}]", "application/json")
    (claimed,) = claim([envelope], make_worker())
    assert claimed.answer is Answer.RUN
    outcome = run_attempt(errand_of(claimed.job, claimed.payload), "w@test")
    assert (outcome.succeeded, outcome.result) == (True, NEW)


def test_a_message_names_its_job_by_the_name_that_the_row_has():
    job = make_job(task=OLD)
    (claimed,) = claim([Envelope(job.pk, 1, NEW)], make_worker())
    assert (claimed.answer, claimed.why) == (Answer.REJECT, f"names task {NEW}, its job is a {OLD}")


def test_an_attempt_of_the_old_name_that_is_lost_is_retried_as_the_new_policy_says():
    job = make_job("running", task=OLD, attempt=3)
    assert lost_outcome(job, WorkerLost("gone"), "worker_lost").retry_in_seconds is None, "three attempts, not five"


def test_celery_knows_the_old_name_with_the_new_limits(outbox):
    old, new = app.tasks[OLD], app.tasks[NEW]
    assert (old.spec, old.time_limit) == (new.spec, new.time_limit)
    assert Job.objects.get(pk=old.delay(text="x").id.rpartition(".")[0]).task == NEW


def test_an_idempotency_key_that_the_task_has_seen_under_its_old_name_still_counts(outbox):
    first = make_job(task=OLD, payload=enqueue(NEW, {"text": "x"}).payload, idempotency_key="k")
    assert enqueue(NEW, {"text": "x"}, idempotency_key="k") == enqueue(OLD, {"text": "x"}, idempotency_key="k") == first
    with pytest.raises(IdempotencyConflict) as conflict:
        enqueue(NEW, {"text": "y"}, idempotency_key="k")
    assert conflict.value.id == first.pk
    assert enqueue(NEW, {"text": "y"}, idempotency_key="other").task == NEW


def test_a_key_of_the_old_name_counts_for_each_of_many(outbox):
    first = make_job(task=OLD, payload=enqueue(NEW).payload, idempotency_key="k")
    new_jobs = [prepare(JobRequest(task=NEW, idempotency_key=key)) for key in ("k", "k", "other")]
    assert [job == first for job in store(new_jobs)] == [True, True, False]
