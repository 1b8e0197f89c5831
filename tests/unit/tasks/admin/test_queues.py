"""Purging a live queue from the console."""

from typing import Any

import pytest

from tasks.models import Job, Operation, ParkedJob
from tasks.states import JobState
from tests.unit.tasks.admin.conftest import staff
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db

PURGE = "/admin/tasks/operation/purge/work-queue/"


@pytest.fixture(autouse=True)
def waiting(db: None) -> dict[str, list[Job]]:
    make_job(JobState.QUEUED, queue="email-queue")
    make_job(JobState.RUNNING)
    return {
        JobState.QUEUED: [make_job(JobState.QUEUED) for _ in range(3)],
        JobState.SCHEDULED: [make_job(JobState.SCHEDULED) for _ in range(2)],
        JobState.RETRYING: [make_job(JobState.RETRYING)],
    }


def states() -> dict[Any, str]:
    return dict(Job.objects.values_list("pk", "state"))


def test_the_page_counts_what_waits_and_says_what_a_purge_is(admin_client):
    response = admin_client.get(PURGE)
    assert dict(response.context["waiting"]) == {"Queued": 3, "Scheduled": 2, "Retrying": 1}
    page = response.content.decode()
    for piece in ("cancelled and parked", "can be put back, in the same order", "are not touched"):
        assert piece in page, piece
    assert response.context["form"]["states"].value() == ["queued"]
    assert not Operation.objects.exists()


def test_a_purge_takes_what_was_chosen_and_its_undo_puts_it_back(
    admin_client, waiting, django_capture_on_commit_callbacks, outbox
):
    before = states()
    with django_capture_on_commit_callbacks(execute=True):
        given = {"states": ["queued", "scheduled"], "reason": "sent twice"}
        response = admin_client.post(PURGE, given)
    purge = Operation.objects.get()
    assert response.url == f"/admin/tasks/operation/{purge.pk}/change/"
    assert (purge.total, purge.reason) == (5, "sent twice")
    assert ParkedJob.objects.count() == 5
    page = admin_client.get(response.url).content.decode()
    assert "work-queue: queued, scheduled jobs" in page
    assert "It can be undone until" in page
    undo = f"/admin/tasks/operation/{purge.pk}/undo/"
    assert "Restore 5 jobs" in admin_client.get(undo).content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(undo, {"reason": ""})
    assert states() == before
    assert [message.job_id for message in outbox] == [job.pk for job in waiting[JobState.QUEUED]]


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ({"states": ["queued"], "reason": ""}, "reason", "say why"),
        ({"states": [], "reason": "sent twice"}, "states", "at least one"),
        ({"states": ["running"], "reason": "sent twice"}, "states", "that are shown"),
    ],
)
def test_a_problem_stands_at_its_field_and_nothing_changes(admin_client, given, field, message):
    before = states()
    form = admin_client.post(PURGE, given).context["form"]
    assert message in str(form.errors[field])
    assert form["reason"].value() == given["reason"]
    assert form["states"].value() == given["states"]
    assert states() == before


def test_an_empty_queue_has_nothing_to_purge(admin_client):
    empty = "/admin/tasks/operation/purge/sms-queue/"
    form = admin_client.post(empty, {"states": ["queued"], "reason": "x"}).context["form"]
    assert "Nothing waits there" in str(form.errors["states"])


def test_a_queue_that_is_not_there_has_no_page(admin_client):
    assert admin_client.get("/admin/tasks/operation/purge/no-queue/").status_code == 404


def test_who_may_not_purge_is_told_so(db):
    client = staff("eve", "tasks.view_job", "tasks.add_operation")
    assert "You may not purge queues" in client.get(PURGE).content.decode()
    assert client.post(PURGE, {"states": ["queued"], "reason": "x"}).status_code == 403
    assert staff("bob", "tasks.purge_queue").get(PURGE).status_code == 403
    assert not Operation.objects.exists()


def test_the_dashboard_leads_those_to_it_who_may_purge(admin_client, viewer):
    assert PURGE in admin_client.get("/admin/").content.decode()
    assert "operation/purge/" not in viewer.get("/admin/").content.decode()
