from types import SimpleNamespace

import pytest
from django.db import OperationalError

from tasks import context as room
from tasks.api import JobCancelled, JobContext, cancel
from tasks.models import Effect, Job
from tasks.states import JobState
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def job():
    return make_job(JobState.RUNNING)


@pytest.fixture
def context(job):
    return JobContext(job.pk, 1, task=job.task, metadata={}, requested_by="")


def test_progress_is_written_first_and_last_and_rarely_between(job, context, django_assert_num_queries):
    with django_assert_num_queries(2):
        for done in range(101):
            context.progress(done, 100, "rows")
    job.refresh_from_db()
    assert (job.progress_done, job.progress_total, job.progress_percent) == (100, 100, 100)


def test_a_superseded_attempt_writes_no_progress(job):
    JobContext(job.pk, 2, task=job.task, metadata={}, requested_by="").progress(5)
    assert Job.objects.get(pk=job.pk).progress_done == 0


def test_a_checkpoint_lets_a_wanted_attempt_pass(context):
    context.checkpoint()


def test_a_checkpoint_stops_a_cancelled_job(job, context):
    cancel(job.pk)
    with pytest.raises(JobCancelled):
        context.checkpoint()


def test_a_checkpoint_stops_a_superseded_attempt(job, context):
    Job.objects.filter(pk=job.pk).update(attempt=2)
    with pytest.raises(JobCancelled, match="superseded"):
        context.checkpoint()


def test_an_outage_of_the_database_does_not_fail_the_work(context, monkeypatch):
    def away():
        raise OperationalError("connection refused")

    monkeypatch.setattr(context, "_mine", away)
    monkeypatch.setattr(room, "connection", SimpleNamespace(in_atomic_block=False, close=lambda: None))
    context.progress(1, 2)
    context.checkpoint()


def test_an_outage_inside_the_tasks_own_transaction_is_told(context, monkeypatch):
    def away():
        raise OperationalError("connection refused")

    monkeypatch.setattr(context, "_mine", away)
    with pytest.raises(OperationalError):
        context.progress(1, 2)


def test_lines_of_the_log_name_the_attempt(job, context, caplog):
    context.log.warning("%d rows", 3, extra={"rows": 3})
    assert caplog.messages == [f"[{job.pk}.1] 3 rows"]
    assert (caplog.records[0].job_id, caplog.records[0].rows) == (str(job.pk), 3)


def test_an_effect_happens_once_over_all_attempts(job, context):
    done = []
    second = JobContext(job.pk, 2, task=job.task, metadata={}, requested_by="")
    values = [attempt.once("send", lambda: done.append(1) or "receipt") for attempt in (context, second)]
    assert (values, done) == (["receipt", "receipt"], [1])


def test_an_effect_that_failed_is_tried_again(context):
    with pytest.raises(ZeroDivisionError):
        context.once("send", lambda: 1 / 0)
    assert context.once("send", lambda: "receipt") == "receipt"
    assert Effect.objects.count() == 1
