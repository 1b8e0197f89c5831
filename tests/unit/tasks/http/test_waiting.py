"""`Prefer: wait=N`, up to the answer."""

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import OperationalError
from django.utils import timezone

from tasks.http import jobs, waiting
from tasks.models import ApiToken, Job
from tasks.states import JobState
from tests.unit.tasks.factories import make_job

GOOD = {"task": "probe.echo", "payload": {"text": "x"}}


@pytest.fixture
def headers(db) -> dict[str, str]:
    return {"Authorization": f"Bearer {ApiToken.issue('t', ['jobs:read', 'jobs:read_all', 'jobs:write'])[1]}"}


@pytest.fixture
def end(monkeypatch):
    """Makes every job that is waited for end at once, in the state given."""

    def set_end(state: str) -> None:
        def wait(job_id, seconds, **_):
            Job.objects.filter(pk=job_id).update(state=state, result={"a": 1}, finished_at=timezone.now())
            return True

        monkeypatch.setattr(waiting.waiting, "wait", wait)

    return set_end


@pytest.fixture
def post(client, headers, outbox):
    def send(prefer: str, **body):
        return client.post(
            "/api/v1/jobs",
            json.dumps({**GOOD, **body}),
            content_type="application/json",
            headers={**headers, "Prefer": prefer},
        )

    return send


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("wait=5", 5),
        ("WAIT = 5", 5),
        ('wait="5"', 5),
        ("respond-async, wait=5", 5),
        ("respond-async;x=1, wait=5; y", 5),
        ("wait=5, wait=7", 5),
        ("wait=3600", 20),
        ("wait=" + "9" * 5000, 20),
        ("wait=000000005", 5),
        ("wait=0", 0),
        ("wait=-5", 0),
        ("wait=5.5", 0),
        ("wait=\u0665", 0),
        ("wait", 0),
        ("wait=", 0),
        ("waiting=5", 0),
        ('wait="5', 0),
        ("", 0),
    ],
)
def test_only_what_the_rfc_calls_a_wish_is_one(rf, text, seconds):
    assert waiting.asked_seconds(rf.get("/", headers={"Prefer": text})) == seconds


@pytest.mark.parametrize("state", ["succeeded", "dead", "cancelled"])
def test_a_job_that_ends_in_time_is_answered_with_its_outcome(post, end, state):
    end(state)
    response = post("wait=5")
    body = response.json()
    assert (response.status_code, body["state"], body["result"]) == (200, state, {"a": 1})
    assert (response["Preference-Applied"], response["Location"]) == ("wait=5", f"/api/v1/jobs/{body['id']}")
    assert "Retry-After" not in response


def test_a_job_that_does_not_is_accepted(post, monkeypatch):
    monkeypatch.setattr(waiting.waiting, "wait", lambda job_id, seconds, **_: True)
    response = post("wait=30")
    assert (response.status_code, response.json()["state"]) == (202, "queued")
    assert (response["Preference-Applied"], response["Retry-After"]) == ("wait=20", "1")


@pytest.mark.parametrize(
    ("prefer", "body"), [("", {}), ("wait=0", {}), ("wait=x", {}), ("wait=5", {"delay_seconds": 60})]
)
def test_without_reason_to_wait_it_is_answered_at_once(post, monkeypatch, prefer, body):
    monkeypatch.setattr(waiting.waiting, "wait", lambda job_id, seconds, **_: pytest.fail("it waited"))
    response = post(prefer, **body)
    assert (response.status_code, "Preference-Applied" in response) == (202, False)


def test_where_too_many_wait_it_is_answered_at_once(post, settings):
    settings.TASKS_MAX_WAITING_REQUESTS = 0
    response = post("wait=5")
    assert (response.status_code, "Preference-Applied" in response) == (202, False)


def test_a_job_was_accepted_even_if_the_database_is_gone_afterwards(post, monkeypatch):
    def away(**_):
        raise OperationalError("connection refused")

    def wait(job_id, seconds, **_):
        monkeypatch.setattr(jobs, "Job", SimpleNamespace(objects=SimpleNamespace(filter=away)))
        return True

    monkeypatch.setattr(waiting.waiting, "wait", wait)
    assert post("wait=5").status_code == 202


def test_a_reader_may_wait_too(client, headers, end):
    job = make_job(JobState.RUNNING, started_at=timezone.now() - timedelta(seconds=1))
    end("succeeded")
    response = client.get(f"/api/v1/jobs/{job.pk}", headers={**headers, "Prefer": "wait=5"})
    assert (response.status_code, response.json()["state"]) == (200, "succeeded")
    assert response["Preference-Applied"] == "wait=5"


def test_nobody_waits_for_a_job_that_has_ended(client, headers, monkeypatch):
    monkeypatch.setattr(waiting.waiting, "wait", lambda job_id, seconds, **_: pytest.fail("it waited"))
    job = make_job(JobState.DEAD)
    response = client.get(f"/api/v1/jobs/{job.pk}", headers={**headers, "Prefer": "wait=5"})
    assert response.json()["state"] == "dead"
