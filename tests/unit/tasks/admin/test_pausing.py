"""Pause and Resume on the dashboard, and the page that asks first."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from tasks import queues
from tasks.models import AuditEntry
from tasks.states import JobState
from tests.unit.tasks.admin.conftest import staff
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db

LIVE = "/admin/tasks/job/dashboard/"
PAGE = "/admin/tasks/job/queues/email-queue/pausing/"


@pytest.fixture
def operator() -> Client:
    return staff("ada", "tasks.view_job", "tasks.pause_queue")


def cell(client: Client, name: str = "email-queue") -> dict:
    return next(row for row in client.get(LIVE).context["queues"] if row["name"] == name)["pausing"]


def test_the_table_tells_of_a_pause_and_offers_the_other_act(operator):
    assert (cell(operator)["button"].text, cell(operator)["button"].url) == ("Pause", PAGE)
    queues.pause("email-queue", requested_by="<bob>", reason="away & gone", until=timezone.now() + timedelta(hours=1))
    assert cell(operator)["button"].text == "Resume"
    page = operator.get(LIVE).content.decode()
    assert page.count(">Paused</span> ") == 1
    assert "&lt;bob&gt;" in page
    assert 'title="away &amp; gone"' in page


def test_who_lacks_the_right_sees_why_and_can_do_nothing(viewer):
    told = cell(viewer)["button"]
    assert "You may not pause queues: ask for the permission" in told.why_not
    page = viewer.get(LIVE).content.decode()
    assert PAGE not in page
    assert page.count("disabled title=") >= 8
    assert (viewer.get(PAGE).status_code, viewer.post(PAGE, {"act": "pause"}).status_code) == (403, 403)
    assert queues.paused() == {}


def test_a_pause_is_asked_for_confirmed_and_written_down(operator):
    make_job(JobState.QUEUED, queue="email-queue")
    page = operator.get(PAGE).content.decode()
    assert ("Pause email-queue?" in page, "1 waits in it now" in page) == (True, True)
    assert queues.paused() == {}, "to look changes nothing"
    until = (timezone.now() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    answer = operator.post(PAGE, {"act": "pause", "reason": "away", "until": until}, follow=True)
    assert "email-queue is paused; no worker begins a job of it." in answer.content.decode()
    row = queues.paused()["email-queue"]
    assert (row.paused_by, row.reason, row.until.strftime("%Y-%m-%dT%H:%M:%S")) == ("ada", "away", until)
    assert AuditEntry.objects.get().actor == "ada"


def test_what_is_wrong_stands_at_its_field_and_pauses_nothing(operator):
    past = operator.post(PAGE, {"act": "pause", "reason": "away", "until": "2020-01-01T00:00"})
    assert "has passed; give a moment to come" in past.content.decode()
    assert "away" in past.content.decode()
    long = operator.post(PAGE, {"act": "pause", "reason": "x" * 501})
    assert "at most 500 characters" in long.content.decode()
    assert queues.paused() == {}


def test_a_resume_tells_whose_pause_it_ends(operator):
    queues.pause("email-queue", requested_by="bob", reason="away")
    page = operator.get(PAGE).content.decode()
    assert ("Resume email-queue?" in page, "bob" in page, "“away”" in page) == (True, True, True)
    answer = operator.post(PAGE, {"act": "resume"}, follow=True)
    assert "email-queue is resumed" in answer.content.decode()
    assert queues.paused() == {}


def test_of_two_who_resume_the_second_is_told_and_pauses_nothing(operator):
    """The page that it was asked on has aged."""
    answer = operator.post(PAGE, {"act": "resume"}, follow=True)
    assert "was not paused any more" in answer.content.decode()
    assert queues.paused() == {}


def test_a_queue_there_is_not_has_no_page(operator):
    assert operator.get(PAGE.replace("email-queue", "e-mail")).status_code == 404


def test_nothing_is_done_without_a_token_of_the_form(operator):
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert strict.post(PAGE, {"act": "pause"}).status_code == 403
    assert queues.paused() == {}
