"""What happened to a job, for its owner and for who may see inside."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone
from django_celery_results.models import TaskResult

from tasks.models import Job, JobEvent
from tasks.states import JobState
from tests.unit.tasks.factories import make_job, make_worker
from tests.unit.tasks.http.test_jobs import problem

pytestmark = pytest.mark.django_db


def record(job: Job, number: int, status: str = "RETRY", **values) -> TaskResult:
    error = {"exc_type": "ValueError", "exc_message": "no\nmore"} if status in ("RETRY", "FAILURE") else None
    begun = timezone.now() - timedelta(seconds=2)
    row = TaskResult.objects.create(
        task_id=f"{job.pk}.{number}", status=status, worker="w@host", result=json.dumps(error), traceback="secret tb",
        meta=json.dumps({"evidence": {"log": ["last", "words"]}}), **values,
    )  # fmt: skip
    TaskResult.objects.filter(pk=row.pk).update(date_started=begun, date_done=begun + timedelta(seconds=2))
    return row


def test_events_are_told_from_the_first_on(caller):
    ann = caller("ann")
    job = make_job(requested_by=ann.owner)
    for number in range(5):
        JobEvent.objects.create(job=job, kind="running", attempt=number, detail={"error": "e", "evidence": {"pid": 1}})
    first = ann.get(f"/api/v1/jobs/{job.pk}/events?limit=3").json()
    assert [event["attempt"] for event in first["items"]] == [0, 1, 2]
    assert first["items"][0]["detail"] == {"error": "e"}
    second = ann.get(first["next"]).json()
    assert ([event["attempt"] for event in second["items"]], second["next"]) == ([3, 4], None)
    assert ann.get(second["previous"]).json()["items"] == first["items"]


def test_what_a_worker_saw_is_for_who_may_see_inside(caller):
    job = make_job(JobState.DEAD, requested_by="token:ann")
    record(job, 1, "FAILURE")
    JobEvent.objects.create(job=job, kind="dead", attempt=1, detail={"evidence": {"pid": 1}})
    ann, operator = caller("ann"), caller("operator", "jobs:read", "jobs:read_all")
    told = [by.get(f"/api/v1/jobs/{job.pk}/attempts").json()["items"][0] for by in (ann, operator)]
    assert [(one["traceback"], one["log"]) for one in told] == [(None, None), ("secret tb", "last\nwords")]
    assert [one["error"] for one in told] == ["ValueError: no", "ValueError: no"]
    events = operator.get(f"/api/v1/jobs/{job.pk}/events").json()["items"]
    assert events[0]["detail"] == {"evidence": {"pid": 1}}


def test_attempts_are_told_from_the_latest_on(caller):
    ann = caller("ann")
    job = make_job(JobState.RUNNING, attempt=4, requested_by=ann.owner, worker=make_worker(name="w@now"))
    record(job, 1)
    record(job, 2, "IGNORED")
    JobEvent.objects.create(job=job, kind="handed_back", attempt=3)
    items = ann.get(f"/api/v1/jobs/{job.pk}/attempts").json()["items"]
    assert [(item["number"], item["status"], item["worker"]) for item in items] == [
        (4, "running", "w@now"), (3, "handed_back", ""), (2, "late", "w@host"), (1, "retried", "w@host"),
    ]  # fmt: skip
    assert items[3]["seconds"] == 2


def test_attempts_come_in_pages(caller):
    ann = caller("ann")
    job = make_job(JobState.DEAD, attempt=5, requested_by=ann.owner)
    first = ann.get(f"/api/v1/jobs/{job.pk}/attempts?limit=2").json()
    second = ann.get(first["next"]).json()
    third = ann.get(second["next"]).json()
    assert [[item["number"] for item in page["items"]] for page in (first, second, third)] == [[5, 4], [3, 2], [1]]
    assert (third["next"], first["previous"]) == (None, None)
    assert ann.get(third["previous"]).json()["items"] == second["items"]


def test_a_job_that_was_never_begun_has_no_attempts(caller):
    ann = caller("ann")
    job = make_job(requested_by=ann.owner)
    page = ann.get(f"/api/v1/jobs/{job.pk}/attempts").json()
    assert page == {"items": [], "next": None, "previous": None}


@pytest.mark.parametrize("what", ["events", "attempts"])
def test_anothers_history_is_not_found(caller, what):
    job = make_job(requested_by="token:ann")
    problem(caller("bob").get(f"/api/v1/jobs/{job.pk}/{what}"), 404, "not-found")


@pytest.mark.parametrize("what", ["events", "attempts"])
@pytest.mark.parametrize("cursor", ["bjk5OTk5OTk5OTk5OTk5OTk5OTk5OQ", "biAxZTk", "cC0y", "x"])
def test_a_cursor_of_no_page_is_refused(caller, what, cursor):
    ann = caller("ann")
    job = make_job(requested_by=ann.owner)
    told = problem(ann.get(f"/api/v1/jobs/{job.pk}/{what}?cursor={cursor}"), 422, "invalid")
    assert told["errors"][0]["field"] == "cursor"
