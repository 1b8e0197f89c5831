"""Waiting for a job's end."""

import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from tasks import waiting
from tasks.states import JobState
from tests.unit.tasks.factories import make_job
from tests.waiting import wait_for


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("state", "due_seconds", "worth_it"),
    [
        (JobState.QUEUED, None, True),
        (JobState.SUCCEEDED, None, True),
        (JobState.SCHEDULED, 3, True),
        (JobState.SCHEDULED, 8, False),
        (JobState.RETRYING, 8, False),
    ],
)
def test_a_job_that_is_due_too_late_is_not_waited_for(state, due_seconds, worth_it):
    due = {"due_at": timezone.now() + timedelta(seconds=due_seconds)} if due_seconds else {}
    assert waiting.may_end_within(make_job(state, **due), 5) is worth_it


@pytest.mark.django_db(transaction=True)
def test_whoever_waits_hears_of_the_end_at_once():
    job = make_job(JobState.RUNNING)
    outcome: list[bool] = []
    waiter = threading.Thread(target=lambda: outcome.append(waiting.wait(job.pk, 60)))
    waiter.start()
    wait_for(lambda: len(waiting._poller) == 1, "the waiter")
    job.state, job.finished_at = JobState.SUCCEEDED, timezone.now()
    job.save()
    waiter.join(10)
    assert (outcome, len(waiting._poller)) == ([True], 0)


@pytest.mark.django_db(transaction=True)
def test_whoever_waits_in_vain_is_let_go_in_time():
    assert waiting.wait(make_job(JobState.RUNNING).pk, 0.1)
    assert len(waiting._poller) == 0


def test_where_too_many_wait_nobody_else_does(settings):
    settings.TASKS_MAX_WAITING_REQUESTS = 0
    assert waiting.wait(None, 60) is False
