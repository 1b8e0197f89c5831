"""What our own code may ask for, and callers may not."""

import pytest

from tasks.dispatch import enqueue
from tasks.http.access import recent_tokens
from tasks.models import ApiToken, Job
from tasks.tokens import revoke
from tests.unit.tasks.http.test_jobs import problem

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]

THEIRS = {"task": "image.process", "payload": {"source": "reports/2026/01/payroll.pdf"}}
UNKNOWN = {"task": "probe.echo", "payload": {"text": "x", "txet": "y"}}


@pytest.mark.parametrize(("body", "field"), [(THEIRS, "payload.source"), (UNKNOWN, "payload.txet")])
def test_what_no_caller_may_ask_for_is_named(caller, body, field):
    ann = caller()
    answer = problem(ann.post("/api/v1/jobs", body), 422, "invalid")
    assert [fault["field"] for fault in answer["errors"]] == [field]
    answer = ann.post("/api/v1/jobs/batch", {"jobs": [body]}).json()
    assert [fault["field"] for fault in answer["rejected"][0]["problem"]["errors"]] == [field]
    assert not Job.objects.exists()
    enqueue(body["task"], body["payload"])  # our own code knows what it does


def test_an_upload_can_be_named(caller):
    body = {"task": "image.process", "payload": {"source": "uploads/2026/01/0123456789abcdef-cat.jpg"}}
    assert caller().post("/api/v1/jobs", body).status_code == 202


def test_the_name_of_a_revoked_token_is_never_given_again(caller):
    ann = caller("ann")
    revoke("ann")
    recent_tokens._known.clear()  # five seconds later
    problem(ann.get("/api/v1/jobs"), 401, "unauthenticated")
    assert ApiToken.objects.filter(name="ann").exists()
