from datetime import timedelta

import pytest
from django.utils import timezone
from django_celery_results.models import TaskResult

from tasks.api import JobContext
from tasks.models import Batch, DeadLetter, Job, JobEvent, Operation, ParkedJob, WorkerProcess
from tasks.states import FINAL, JobState
from tasks.tasks import PrunePayload, prune
from tests.unit.tasks.factories import letter_of, make_job, make_message_letter, make_worker

pytestmark = pytest.mark.django_db

OLD = timezone.now() - timedelta(days=40)


def run(**payload: int) -> dict[str, int]:
    running = make_job(JobState.RUNNING, task="platform.prune")
    context = JobContext(running.pk, 1, task="platform.prune", metadata={}, requested_by="")
    return prune(PrunePayload(**payload), context)


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.CANCELLED])
def test_an_old_job_goes_with_its_attempts_and_history(state):
    job = make_job(state, finished_at=OLD, attempt=2)
    JobEvent.objects.create(job=job, kind=state)
    for attempt in (1, 2):
        TaskResult.objects.create(task_id=f"{job.pk}.{attempt}")
    assert run()["jobs_deleted"] == 1
    assert not Job.objects.filter(pk=job.pk).exists()
    assert not JobEvent.objects.exists()
    assert not TaskResult.objects.exists()


@pytest.mark.parametrize("state", sorted(set(JobState) - FINAL | {JobState.DEAD}))
def test_what_has_not_ended_well_is_kept_however_old(state):
    job = make_job(state, created_at=OLD)
    Job.objects.filter(pk=job.pk, state=JobState.DEAD).update(finished_at=OLD)
    assert run()["jobs_deleted"] == 0


def test_the_retention_is_the_settings_unless_the_payload_says_otherwise(settings):
    make_job(JobState.SUCCEEDED, finished_at=timezone.now() - timedelta(days=3))
    settings.TASKS_RETAIN_JOBS_DAYS = 5
    assert run()["jobs_deleted"] == 0
    assert run(older_than_days=2)["jobs_deleted"] == 1


def test_workers_that_went_long_ago_are_forgotten():
    make_worker(seen_at=OLD)
    alive = make_worker()
    run()
    assert list(WorkerProcess.objects.all()) == [alive]


def test_an_old_batch_goes_with_the_last_of_its_jobs():
    emptied, kept, young = (Batch.objects.create(created_at=at) for at in (OLD, OLD, timezone.now()))
    make_job(JobState.SUCCEEDED, finished_at=OLD, batch=emptied)
    make_job(JobState.DEAD, finished_at=OLD, batch=kept)
    run()
    assert set(Batch.objects.all()) == {kept, young}


def test_discarded_letters_go_with_their_jobs_when_they_are_due_and_not_before():
    young = timezone.now() + timedelta(hours=1)
    due, message, kept = (
        letter_of(state="discarded", delete_at=OLD),
        make_message_letter(state="discarded", delete_at=OLD),
        letter_of(state="discarded", delete_at=young),
    )
    still_open = letter_of(died_at=OLD)
    TaskResult.objects.create(task_id=f"{due.job_id}.1")
    assert run()["jobs_deleted"] == 1
    assert set(DeadLetter.objects.all()) == {kept, still_open}
    assert not Job.objects.filter(pk=due.job_id).exists()
    assert not TaskResult.objects.exists()
    assert message.pk is not None


def test_a_discarded_letter_whose_job_lives_again_takes_nothing_with_it():
    job = make_job(JobState.RUNNING)
    letter_of(job, state="discarded", delete_at=OLD)
    assert run()["jobs_deleted"] == 0
    assert Job.objects.filter(pk=job.pk).exists()


def test_a_parked_job_is_kept_while_it_can_be_put_back_and_then_it_is_a_cancelled_job_like_any_other():
    operation = Operation.objects.create(verb="purge", requested_by="ada", finished_at=OLD)
    parked, late = (make_job(JobState.CANCELLED, finished_at=OLD) for _ in range(2))
    for job, delete_at in ((parked, timezone.now() + timedelta(hours=1)), (late, OLD)):
        ParkedJob.objects.create(job=job, operation=operation, place=0, state="queued", delete_at=delete_at)
    assert run()["jobs_deleted"] == 1
    assert list(ParkedJob.objects.values_list("job", flat=True)) == [parked.pk]
    assert Operation.objects.exists(), "its record went while some of it can be put back"
    ParkedJob.objects.update(delete_at=OLD)
    assert run()["jobs_deleted"] == 1
    assert not Operation.objects.exists()


def test_a_discard_is_kept_while_it_can_be_undone(settings):
    settings.TASKS_DEAD_LETTER_KEEP_DAYS = 10_000
    discard = Operation.objects.create(verb="discard", requested_by="ada", finished_at=OLD)
    Operation.objects.create(verb="restore", requested_by="ada", finished_at=OLD)
    run()
    assert list(Operation.objects.all()) == [discard]


def test_operations_that_go_on_or_have_just_ended_are_kept():
    going_on = Operation.objects.create(verb="replay", requested_by="ada", created_at=OLD)
    young = Operation.objects.create(verb="replay", requested_by="ada", finished_at=timezone.now())
    Operation.objects.create(verb="replay", requested_by="ada", finished_at=OLD)
    run()
    assert set(Operation.objects.all()) == {going_on, young}
