"""Cancel and replay over HTTP."""

import pytest

from tasks.models import AuditEntry, Job
from tasks.permissions import SCOPES
from tasks.states import JobState
from tests.unit.tasks.factories import kinds, make_job, make_letter
from tests.unit.tasks.http.test_jobs import problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann(caller, outbox):
    return caller("ann")


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.SCHEDULED, JobState.RETRYING])
def test_a_job_that_waits_is_cancelled_at_once(ann, state):
    job = make_job(state, requested_by=ann.owner)
    answer = ann.post(f"/api/v1/jobs/{job.pk}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert job.events.get().detail == {"requested_by": "token:ann"}


def test_a_job_that_runs_is_asked_to_stop(ann):
    job = make_job(JobState.RUNNING, requested_by=ann.owner)
    answer = ann.post(f"/api/v1/jobs/{job.pk}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    assert Job.objects.get(pk=job.pk).cancel_requested_at


def test_what_has_ended_can_not_be_cancelled(ann):
    job = make_job(JobState.SUCCEEDED, requested_by=ann.owner)
    told = problem(ann.post(f"/api/v1/jobs/{job.pk}/cancel"), 409, "conflict")
    assert "succeeded" in told["detail"]


def test_a_dead_job_is_queued_again(ann, outbox, django_capture_on_commit_callbacks):
    job = make_letter(requested_by=ann.owner).job
    with django_capture_on_commit_callbacks(execute=True):
        answer = ann.post(f"/api/v1/jobs/{job.pk}/replay")
    assert (answer.status_code, answer["Location"]) == (202, f"/api/v1/jobs/{job.pk}")
    assert answer.json()["state"] == "queued"
    assert [message.job_id for message in outbox] == [job.pk]
    assert AuditEntry.objects.get(verb="dead_letters.replay").actor == "token:ann"


def test_what_is_not_dead_can_not_be_replayed(ann):
    job = make_job(JobState.QUEUED, requested_by=ann.owner)
    problem(ann.post(f"/api/v1/jobs/{job.pk}/replay"), 409, "conflict")


@pytest.mark.parametrize("what", ["cancel", "replay"])
def test_anothers_job_is_not_found_and_not_touched(ann, what):
    job = make_job(JobState.DEAD if what == "replay" else JobState.QUEUED, requested_by="token:bob")
    problem(ann.post(f"/api/v1/jobs/{job.pk}/{what}"), 404, "not-found")
    assert (Job.objects.get(pk=job.pk).state, kinds(job)) == (job.state, [])


@pytest.mark.parametrize(
    ("what", "scopes", "lacking"),
    [("cancel", ["jobs:read"], "jobs:write"), ("replay", ["jobs:read", "jobs:write"], "dead_letters:replay")],
)
def test_each_takes_its_right(caller, what, scopes, lacking):
    bob = caller("bob", *scopes)
    told = problem(bob.post(f"/api/v1/jobs/{make_job(requested_by=bob.owner).pk}/{what}"), 403, "forbidden")
    assert lacking in told["detail"]


def test_staff_cancel_anybodys_job_as_they_do_in_the_admin(staff, outbox):
    job = make_job(requested_by="token:bob")
    assert staff("cancel_job", "view_job").post(f"/api/v1/jobs/{job.pk}/cancel").status_code == 200


@pytest.mark.parametrize("what", ["cancel", "replay"])
def test_who_decides_about_anothers_job_sees_none_of_its_secrets(caller, what):
    secret = {"requested_by": "token:bob", "payload": {"password": "hunter22"}}
    job = make_letter(**secret).job if what == "replay" else make_job(JobState.QUEUED, **secret)
    answer = caller("operator", *SCOPES).post(f"/api/v1/jobs/{job.pk}/{what}")
    assert answer.status_code in (200, 202)
    assert answer.json()["payload"] == {"password": "••••••"}
