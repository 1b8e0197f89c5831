"""What changes something: only by POST, only with the CSRF token, only for those who may."""

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from unfold.admin import ModelAdmin

from tasks.dead_letters import burial
from tasks.models import DeadLetter, Job
from tasks.states import JobState
from tests.unit.tasks.admin.conftest import staff
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db

SUBMIT = {"_form_submitted": "on"}


@pytest.fixture
def dead():
    job = make_job(JobState.RUNNING, task="case.plain", attempt=5)
    burial.bury(job, JobState.RUNNING, reason="exhausted", error_type="ValueError", error="no")
    return Job.objects.get(pk=job.pk)


@pytest.fixture
def letter(dead):
    return DeadLetter.objects.get()


def rows():
    return list(Job.objects.values("pk", "state", "cancel_requested_at")), list(
        DeadLetter.objects.values("pk", "state")
    )


def action_urls(job, letter):
    """Of every console page that has such buttons, whoever wrote it."""
    for model, model_admin in admin.site._registry.items():
        if not isinstance(model_admin, ModelAdmin):
            continue
        objects = {Job: job.pk, DeadLetter: letter.pk}
        for found in (*model_admin._get_base_actions_detail(), *model_admin._get_base_actions_row()):
            yield reverse(f"admin:{found.action_name}", args=[objects.get(model, 1)])
        for found in model_admin._get_base_actions_list():
            yield reverse(f"admin:{found.action_name}")
    for name in ("replay", "discard", "restore", "unmask"):
        yield reverse(f"admin:tasks_deadletter_{name}", args=[letter.pk])


def cancel_url(job):
    return f"/admin/tasks/job/{job.pk}/cancel/"


def replay_url(job):
    return f"/admin/tasks/job/{job.pk}/replay/"


def test_a_get_of_an_action_changes_nothing(admin_client, dead, letter):
    make_job(JobState.QUEUED, task="case.plain")
    before = rows()
    urls = list(action_urls(dead, letter))
    assert len(urls) >= 6
    for url in urls:
        assert admin_client.get(url).status_code in (200, 302)
    for job in Job.objects.all():
        admin_client.get(cancel_url(job))
    assert rows() == before


def test_every_action_of_ours_asks_by_dialog_and_names_its_permission():
    for model in (Job, DeadLetter):
        model_admin = admin.site._registry[model]
        for found in model_admin._get_base_actions_detail():
            assert found.dialog, found.action_name
            assert found.method.allowed_permissions, found.action_name


def test_a_viewer_can_neither_see_nor_post_an_action(viewer, dead, letter):
    waiting = make_job(JobState.QUEUED, task="case.plain")
    before = rows()
    for job, url in ((waiting, cancel_url(waiting)), (dead, replay_url(dead))):
        page = viewer.get(f"/admin/tasks/job/{job.pk}/change/")
        assert page.status_code == 200
        assert url not in page.content.decode()
        assert viewer.get(url).status_code == 403
        assert viewer.post(url, SUBMIT).status_code == 403
    letter_url = f"/admin/tasks/deadletter/{letter.pk}/replay/"
    assert letter_url not in viewer.get(f"/admin/tasks/deadletter/{letter.pk}/change/").content.decode()
    assert viewer.post(letter_url, SUBMIT).status_code == 403
    listed = viewer.get("/admin/tasks/deadletter/").content.decode()
    assert "replay_selected" not in listed
    viewer.post(
        "/admin/tasks/deadletter/",
        {"action": "replay_selected", "_selected_action": str(letter.pk), "confirmed": "yes"},
    )
    assert rows() == before


@pytest.mark.parametrize("url_of", [cancel_url, replay_url])
def test_an_action_needs_the_csrf_token(admin_user, dead, url_of):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(url_of(dead), SUBMIT).status_code == 403


def test_bulk_replay_needs_the_csrf_token(admin_user, letter):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    data = {"action": "replay_selected", "_selected_action": str(letter.pk), "confirmed": "yes"}
    assert client.post("/admin/tasks/deadletter/", data).status_code == 403


def test_an_anonymous_visitor_is_sent_to_the_login(client, dead):
    for url in (cancel_url(dead), "/admin/tasks/job/live/", "/admin/tasks/job/dashboard/", "/admin/tasks/job/run/"):
        assert client.get(url).status_code == 302
        assert "/admin/login/" in client.get(url)["Location"]


def test_cancel_is_recorded_with_who_asked(db):
    client = staff("ada", "tasks.view_job", "tasks.cancel_job")
    job = make_job(JobState.QUEUED, task="case.plain")
    assert cancel_url(job) in client.get(f"/admin/tasks/job/{job.pk}/change/").content.decode()
    response = client.post(cancel_url(job), SUBMIT, headers={"HX-Request": "true"})
    assert response["HX-Redirect"] == f"/admin/tasks/job/{job.pk}/change/"
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert job.events.get().detail == {"requested_by": "ada"}


def test_without_htmx_an_action_answers_with_a_plain_redirect(admin_client, dead):
    response = admin_client.post(replay_url(dead), SUBMIT)
    assert (response.status_code, response["Location"]) == (302, f"/admin/tasks/job/{dead.pk}/change/")


def test_replay_of_a_job_puts_it_back_on_its_queue(admin_client, dead, outbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(replay_url(dead), SUBMIT)
    dead.refresh_from_db()
    assert dead.state == JobState.QUEUED
    assert [message.attempt for message in outbox] == [6]


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED])
def test_cancel_is_not_offered_for_what_has_ended_and_refused_kindly(admin_client, state):
    job = make_job(state, task="case.plain")
    assert cancel_url(job) not in admin_client.get(f"/admin/tasks/job/{job.pk}/change/").content.decode()
    admin_client.post(cancel_url(job), SUBMIT)
    page = admin_client.get(f"/admin/tasks/job/{job.pk}/change/").content.decode()
    assert "Nothing was changed" in page


@pytest.mark.parametrize("state", [state for state in JobState if state != JobState.DEAD])
def test_replay_is_not_offered_unless_dead_and_refused_kindly(admin_client, state):
    job = make_job(state, task="case.plain")
    assert replay_url(job) not in admin_client.get(f"/admin/tasks/job/{job.pk}/change/").content.decode()
    admin_client.post(replay_url(job), SUBMIT)
    assert "Nothing was changed" in admin_client.get(f"/admin/tasks/job/{job.pk}/change/").content.decode()


def test_an_action_on_what_is_not_there_is_not_found(admin_client):
    for key in ("01a208b4-a2ae-777b-a36a-1208ff58d8f7", "nonsense"):
        assert admin_client.post(f"/admin/tasks/job/{key}/cancel/", SUBMIT).status_code == 404
        assert admin_client.post(f"/admin/tasks/deadletter/{key}/replay/", SUBMIT).status_code == 404


def test_rows_can_not_be_added_changed_or_deleted_even_by_a_superuser(admin_client, dead, letter):
    for name, key in (("job", dead.pk), ("deadletter", letter.pk)):
        assert admin_client.get(f"/admin/tasks/{name}/add/").status_code == 403
        assert admin_client.post(f"/admin/tasks/{name}/{key}/delete/", {"post": "yes"}).status_code == 403
        assert admin_client.post(f"/admin/tasks/{name}/{key}/change/", {}).status_code == 403
        page = admin_client.get(f"/admin/tasks/{name}/{key}/change/").content.decode()
        assert 'name="_save"' not in page
