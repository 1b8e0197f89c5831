"""Asking again and again, for little."""

from datetime import timedelta

import pytest
from django.utils import timezone

from tasks.http.freshness import retry_after_seconds
from tasks.models import ApiToken, Job
from tasks.states import JobState
from tests.unit.tasks.factories import make_job

NOW = timezone.now()


@pytest.fixture
def read(client, db):
    headers = {"Authorization": f"Bearer {ApiToken.issue('t', ['jobs:read', 'jobs:read_all'])[1]}"}

    def get(job: Job, **more: str):
        return client.get(
            f"/api/v1/jobs/{job.pk}", headers={**headers, **{name.replace("_", "-"): more[name] for name in more}}
        )

    return get


def ago(seconds: float):
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ({"state": "succeeded"}, None),
        ({"state": "dead"}, None),
        ({"state": "scheduled", "due_at": ago(-12)}, 12),
        ({"state": "scheduled", "due_at": ago(-3600)}, 30),
        ({"state": "retrying", "due_at": ago(5)}, 1),
        ({"state": "queued", "queued_at": NOW}, 1),
        ({"state": "queued", "queued_at": ago(20)}, 10),
        ({"state": "queued", "queued_at": ago(-20)}, 1),  # the database's clock is ahead
        ({"state": "running", "started_at": ago(8)}, 4),
        ({"state": "running", "started_at": ago(10), "progress_done": 1, "progress_total": 4}, 30),
        ({"state": "running", "started_at": ago(30), "progress_done": 3, "progress_total": 4}, 10),
        ({"state": "running", "started_at": ago(39), "progress_done": 39, "progress_total": 40}, 1),
        ({"state": "running", "started_at": ago(39), "progress_done": 50, "progress_total": 40}, 1),
        ({"state": "running", "started_at": ago(8), "progress_done": 0, "progress_total": 40}, 4),
    ],
)
def test_ask_again_when_something_may_have_happened(values, seconds):
    assert retry_after_seconds(Job(**values), NOW) == seconds


def test_whoever_has_it_is_told_that_nothing_is_new(read):
    job = make_job(JobState.RUNNING, started_at=timezone.now())
    first = read(job)
    again = read(job, If_None_Match=first["ETag"])
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    assert {"Retry-After", "Cache-Control"} <= set(again.headers)
    assert first["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("tags", ["W/{}", '"other", {}', "*"])
def test_a_tag_is_known_however_it_is_sent(read, tags):
    job = make_job(JobState.SUCCEEDED)
    response = read(job, If_None_Match=tags.format(read(job)["ETag"]))
    assert (response.status_code, "Retry-After" in response) == (304, False)


@pytest.mark.parametrize("change", [{"state": "queued"}, {"attempt": 2}, {"progress_done": 1}, {"progress_note": "n"}])
def test_every_change_is_a_new_tag(read, change):
    job = make_job(JobState.RUNNING)
    first = read(job)
    Job.objects.filter(pk=job.pk).update(**change)
    again = read(job, If_None_Match=first["ETag"])
    assert again.status_code == 200
    assert again["ETag"] != first["ETag"]


@pytest.mark.parametrize("tags", ["", "nonsense", '"other"', "'*'"])
def test_a_tag_that_is_none_is_no_reason_to_answer_nothing(read, tags):
    assert read(make_job(), If_None_Match=tags).status_code == 200


def test_both_answers_are_documented(client):
    operation = client.get("/api/v1/openapi.json").json()["paths"]["/api/v1/jobs/{job_id}"]["get"]
    assert set(operation["responses"]) >= {"200", "304"}
    assert {"If-None-Match", "Prefer"} <= {parameter["name"] for parameter in operation["parameters"]}
