"""What a follower is told by a process that hangs up, in the words of server-sent events."""

import json
import uuid

import pytest
from django.test import Client

from tasks.models import ApiToken, Batch, Job, JobEvent
from tasks.states import JobState
from tasks.transitions import change
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def follow(client: Client):
    token = ApiToken.issue("t", ["jobs:read", "jobs:read_all"])[1]

    def get(path: str, last_seen: str = ""):
        seen = {"Last-Event-ID": last_seen} if last_seen else {}
        return client.get(f"/api/v1/{path}/stream", headers={"Authorization": f"Bearer {token}", **seen})

    return get


def events(response) -> list[tuple[str, str, dict]]:
    """(event, id, data) as a client reads them."""
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == "text/event-stream"
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in response.text.split("\n\n") if block
    ]
    return [(block["event"], block["id"], json.loads(block["data"])) for block in blocks if "event" in block]


def running() -> Job:
    job = make_job()
    JobEvent.objects.create(job=job, kind="queued")
    change(job.pk, source=JobState.QUEUED, target=JobState.RUNNING, burn=True)
    Job.objects.filter(pk=job.pk).update(progress_done=1, progress_total=4, progress_note="line\nbreak")
    return job


def test_a_follower_is_told_the_state_and_the_progress_and_when_to_come_again(follow):
    response = follow(f"jobs/{running().pk}")
    (state, _, changed), (progress, _, progressed) = events(response)
    assert (state, changed["state"], changed["attempt"]) == ("state", "running", 1)
    assert (progress, progressed) == (
        "progress", {"attempt": 1, "done": 1, "total": 4, "percent": 25, "note": "line\nbreak"},
    )  # fmt: skip
    assert response.content.startswith(b"retry: 2000\n\n")
    assert (response["Cache-Control"], response["X-Accel-Buffering"]) == ("no-store", "no")


def test_whoever_comes_again_is_told_the_rest(follow):
    job = running()
    [*_, (_, last, _)] = events(follow(f"jobs/{job.pk}"))
    assert events(follow(f"jobs/{job.pk}", last)) == []
    change(job.pk, source=JobState.RUNNING, target=JobState.SUCCEEDED, result=7)
    [(_, last, told)] = events(follow(f"jobs/{job.pk}", last))
    assert (told["state"], told["job"]["result"], told["job"]["id"]) == ("succeeded", 7, str(job.pk))
    assert follow(f"jobs/{job.pk}", last).status_code == 204


def test_a_batch_is_followed_by_its_numbers(follow):
    batch = Batch.objects.create(total=1)
    job = make_job(JobState.RUNNING, batch=batch)
    [(event, last, told)] = events(follow(f"batches/{batch.pk}"))
    assert (event, told["unfinished"], told["jobs"]["running"]) == ("counts", 1, 1)
    assert events(follow(f"batches/{batch.pk}", last)) == []
    change(job.pk, source=JobState.RUNNING, target=JobState.SUCCEEDED)
    [(_, last, told)] = events(follow(f"batches/{batch.pk}", last))
    assert told["unfinished"] == 0
    assert follow(f"batches/{batch.pk}", last).status_code == 204


@pytest.mark.parametrize("what", ["jobs", "batches"])
def test_what_is_not_there_can_not_be_followed(follow, what):
    assert follow(f"{what}/{uuid.uuid4()}").status_code == 404
    assert follow(f"{what}/7").status_code == 404


def test_strangers_can_not_follow(client):
    assert client.get(f"/api/v1/jobs/{running().pk}/stream").status_code == 401


def test_a_token_needs_the_scope(client):
    token = ApiToken.issue("w", ["jobs:write"])[1]
    path = f"/api/v1/jobs/{running().pk}/stream"
    assert client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code == 403
