import pytest
from django.utils import timezone

from tasks.models import ApiToken, Job, Request
from tasks.states import JobState
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db


def bearer(name: str, *scopes: str) -> dict[str, str]:
    _, text = ApiToken.issue(name, list(scopes or ["jobs:read"]))
    return {"HTTP_AUTHORIZATION": f"Bearer {text}"}


def asked(state: str) -> Job:
    job = make_job(state, requested_by="token:ann", correlation_id="c-1")
    Request.objects.create(job=job, correlation_id="c-1", requested_by="token:ann", timed_out_at=timezone.now())
    return job


def test_a_late_reply_is_for_who_asked_and_for_nobody_else(client):
    job = asked(JobState.SUCCEEDED)
    ann, bob = bearer("ann"), bearer("bob", "jobs:read", "jobs:read_all")
    assert client.get("/api/v1/replies/c-1", **bob).status_code == 404
    answer = client.get("/api/v1/replies/c-1", **ann)
    assert (answer.status_code, answer.json()["id"]) == (200, str(job.pk))
    assert Request.objects.get().fetched_at is not None


def test_a_job_that_has_not_ended_is_asked_for_again_later(client):
    asked(JobState.RUNNING)
    answer = client.get("/api/v1/replies/c-1", **bearer("ann"))
    assert (answer.status_code, answer["Retry-After"]) == (202, "1")


def test_the_desk_takes_a_scope_of_its_own(client):
    asked(JobState.SUCCEEDED)
    assert client.get("/api/v1/requests", **bearer("ann")).status_code == 403
    desk = client.get("/api/v1/requests", **bearer("bob", "requests:read")).json()
    assert (desk["timed_out"], desk["unfetched"], desk["waiting"]) == (1, 1, 0)
