import pytest
from django.db import connection
from django.utils import timezone
from django_celery_results.models import TaskResult

from tasks.api import JobCancelled, PermanentError, RetryPolicy, cancel
from tasks.models import DeadLetter, Job
from tasks.states import JobState
from tasks.worker.outcome import Outcome
from tasks.worker.recording import Ended, record
from tests.unit.tasks.factories import kinds, make_job

pytestmark = pytest.mark.django_db

POLICY = RetryPolicy(max_attempts=2, base_seconds=1, cap_seconds=1)


def end(job: Job, outcome: Outcome) -> JobState | None:
    (reached,) = record([Ended(job, outcome, "w@test")])
    job.refresh_from_db()
    return reached


def failed(error: Exception, attempt: int = 1) -> Outcome:
    return Outcome.of_error(error, POLICY, attempt)


def test_a_result_is_kept_with_its_attempt():
    job = make_job(JobState.RUNNING)
    assert end(job, Outcome(succeeded=True, result={"a": [1]})) == JobState.SUCCEEDED
    assert (job.result, job.progress_percent, kinds(job)) == ({"a": [1]}, 100, ["succeeded"])
    attempt = TaskResult.objects.get()
    assert (attempt.task_id, attempt.status, attempt.worker, attempt.result) == (
        f"{job.pk}.1", "SUCCESS", "w@test", '{"a": [1]}',
    )  # fmt: skip


def test_a_failure_with_attempts_left_waits_in_the_database():
    job = make_job(JobState.RUNNING)
    assert end(job, failed(ValueError("no"))) == JobState.RETRYING
    assert job.error == "ValueError: no"
    assert abs((job.due_at - timezone.now()).total_seconds()) < 5
    assert TaskResult.objects.get().status == "RETRY"


@pytest.mark.parametrize(
    ("error", "attempt", "reason"),
    [(ValueError("no"), 2, "exhausted"), (PermanentError("no"), 1, "permanent")],
)
def test_a_failure_past_help_is_buried_with_its_traceback(error, attempt, reason):
    job = make_job(JobState.RUNNING, attempt=attempt)
    assert end(job, failed(error, attempt)) == JobState.DEAD
    letter = DeadLetter.objects.get(job=job)
    assert (letter.reason, letter.error_type, letter.error) == (reason, type(error).__name__, "no")
    assert type(error).__name__ in letter.traceback


def test_a_late_outcome_changes_nothing_and_is_told():
    job = make_job(JobState.RUNNING, attempt=2)
    late = Job(pk=job.pk, task=job.task, attempt=1, queue=job.queue)
    assert record([Ended(late, Outcome(succeeded=True, result="late"), "w@test")]) == [None]
    job.refresh_from_db()
    assert (job.state, job.result, kinds(job)) == (JobState.RUNNING, None, ["duplicate"])
    assert TaskResult.objects.get().status == "IGNORED"


def test_an_attempt_has_one_record():
    job = make_job(JobState.RUNNING)
    end(job, failed(ValueError("first")))
    assert end(job, Outcome(succeeded=True, result="late")) is None
    assert TaskResult.objects.get().status == "RETRY"


def test_a_cancelled_job_is_not_retried():
    job = make_job(JobState.RUNNING)
    cancel(job.pk)
    assert end(job, failed(ValueError("no"))) == JobState.CANCELLED


def test_a_checkpoint_that_stopped_the_attempt_ends_the_job():
    job = make_job(JobState.RUNNING)
    assert end(job, failed(JobCancelled("stop"))) == JobState.CANCELLED
    assert TaskResult.objects.get().status == "REVOKED"


def test_a_job_that_finishes_before_its_next_checkpoint_has_succeeded():
    job = make_job(JobState.RUNNING)
    cancel(job.pk)
    assert end(job, Outcome(succeeded=True)) == JobState.SUCCEEDED


def test_an_error_that_no_database_can_keep_is_kept_readable():
    job = make_job(JobState.RUNNING)
    end(job, failed(PermanentError("a\0b \ud800")))
    assert DeadLetter.objects.get().error == "a\\0b \\ud800"


def test_many_outcomes_share_a_transaction():
    jobs = [make_job(JobState.RUNNING) for _ in range(3)]
    outcomes = [Outcome(succeeded=True), failed(ValueError("x")), failed(PermanentError("y"))]
    reached = record([Ended(job, outcome, "w") for job, outcome in zip(jobs, outcomes, strict=True)])
    assert reached == [JobState.SUCCEEDED, JobState.RETRYING, JobState.DEAD]


def test_an_outcome_that_comes_after_its_job_was_pruned_is_let_go():
    job = make_job(JobState.RUNNING)
    stale = Job.objects.get(pk=job.pk)
    job.delete()
    assert record([Ended(stale, Outcome(succeeded=True), "w@test")]) == [None]
    connection.check_constraints()


def test_an_outcome_ends_a_row_of_lost_deliveries():
    job = make_job(JobState.RUNNING, lost_deliveries=2)
    end(job, failed(ValueError("no")))
    assert (job.state, job.lost_deliveries) == (JobState.RETRYING, 0)
