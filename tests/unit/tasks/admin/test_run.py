import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tasks.models import Job
from tests.unit.tasks.admin.conftest import staff

pytestmark = pytest.mark.django_db

INDEX = "/admin/tasks/job/run/"
OPTIONS = {"options-priority": "normal"}


def stored_files():
    return [name for name in _walk("uploads")] if default_storage.exists("uploads") else []


def _walk(folder):
    folders, files = default_storage.listdir(folder)
    return [*files, *(name for inner in folders for name in _walk(f"{folder}/{inner}"))]


def test_every_kind_of_work_is_listed_with_what_it_does(admin_client):
    page = admin_client.get(INDEX).content.decode()
    assert "Plain work" in page
    assert "Do it &amp; be done." in page
    assert f"{INDEX}case.plain/" in page


def test_a_right_form_enqueues_and_leads_to_the_job(admin_client, outbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(f"{INDEX}case.plain/", {**OPTIONS, "payload-text": "hi"}, follow=True)
    job = Job.objects.get()
    assert response.redirect_chain == [(f"/admin/tasks/job/{job.pk}/change/", 302)]
    assert "The job is queued." in response.content.decode()
    assert (job.payload, job.requested_by, job.priority) == ({"text": "hi"}, "admin", "normal")
    assert len(outbox) == 1


def test_options_reach_the_job(admin_client):
    options = {"options-priority": "high", "options-delay_seconds": "90", "options-idempotency_key": "k1"}
    admin_client.post(f"{INDEX}case.plain/", options)
    job = Job.objects.get()
    assert (job.priority, job.queue, job.idempotency_key, job.state) == ("high", "priority-queue", "k1", "scheduled")


def test_the_same_key_again_shows_the_first_job_and_says_so(admin_client):
    for _ in range(2):
        response = admin_client.post(f"{INDEX}case.plain/", {**OPTIONS, "options-idempotency_key": "k1"}, follow=True)
    assert Job.objects.count() == 1
    assert "nothing was added" in response.content.decode()


@pytest.mark.parametrize(
    ("data", "form", "field", "message"),
    [
        ({"payload-line": ""}, "payload_form", "line", "Field required"),
        ({"payload-line": "x", "payload-count": "12"}, "payload_form", "count", "less than or equal to 9"),
        ({"payload-line": "x", "payload-to": "ok@example.org\nno"}, "payload_form", "to", "Line 2: "),
        ({"payload-line": "x", "payload-count": "9", "payload-is_loud": "on"}, "payload_form", None, "too much"),
        ({"payload-line": "x", "options-priority": "low"}, "options_form", "priority", "not one of the available"),
        ({"payload-line": "x", "options-delay_seconds": "5", "options-run_at": "2999-01-01T00:00"}, "options_form",
         "run_at", "not both"),
    ],
)  # fmt: skip
def test_a_bad_field_shows_its_message_at_that_field(admin_client, data, form, field, message):
    response = admin_client.post(f"{INDEX}case.everything/", {**OPTIONS, **data})
    assert response.status_code == 200
    shown = response.context[form]
    assert message in " ".join(shown.errors[field] if field else shown.non_field_errors())
    assert message in response.content.decode().replace("&#x27;", "'")
    assert Job.objects.count() == 0


def test_all_that_is_wrong_is_told_at_once(admin_client):
    response = admin_client.post(
        f"{INDEX}case.everything/", {**OPTIONS, "payload-count": "x", "options-priority": "low"}
    )
    assert set(response.context["payload_form"].errors) == {"line", "count"}
    assert set(response.context["options_form"].errors) == {"priority"}


def test_an_upload_reaches_the_storage_and_its_name_the_payload(admin_client):
    upload = SimpleUploadedFile("../My photo.JPG", b"pixels")
    admin_client.post(f"{INDEX}case.upload/", {**OPTIONS, "payload-source": upload, "payload-width_px": "5"})
    name = Job.objects.get().payload["source"]
    assert name.startswith("uploads/")
    assert name.endswith("-My-photo.jpg")
    assert default_storage.open(name).read() == b"pixels"


@pytest.mark.parametrize(
    "wrong",
    [
        {"payload-width_px": "0"},
        {"payload-width_px": "x"},
        {"options-priority": "low"},
        {"options-delay_seconds": "-1"},
    ],
)
def test_an_upload_does_not_reach_the_storage_unless_all_is_right(admin_client, wrong):
    data = {**OPTIONS, "payload-source": SimpleUploadedFile("a.jpg", b"x"), "payload-width_px": "5", **wrong}
    assert admin_client.post(f"{INDEX}case.upload/", data).status_code == 200
    assert stored_files() == []
    assert Job.objects.count() == 0


def test_an_upload_that_is_too_large_is_told_so_and_not_stored(admin_client, settings):
    settings.TASKS_MAX_UPLOAD_BYTES = 3
    data = {**OPTIONS, "payload-source": SimpleUploadedFile("a.jpg", b"1234"), "payload-width_px": "5"}
    assert "may have 3" in admin_client.post(f"{INDEX}case.upload/", data).content.decode()
    assert stored_files() == []


def test_no_job_is_left_when_its_upload_can_not_be_stored(admin_client, monkeypatch):
    def full(*args):
        raise OSError("no space left")

    monkeypatch.setattr("tasks.admin.run.save_uploads", full)
    data = {**OPTIONS, "payload-source": SimpleUploadedFile("a.jpg", b"x"), "payload-width_px": "5"}
    with pytest.raises(OSError, match="no space"):
        admin_client.post(f"{INDEX}case.upload/", data)
    assert Job.objects.count() == 0


def test_opening_a_form_adds_nothing(admin_client):
    assert admin_client.get(f"{INDEX}case.everything/").status_code == 200
    assert Job.objects.count() == 0


def test_an_unknown_kind_of_work_is_not_found(admin_client):
    assert admin_client.get(f"{INDEX}no.such/").status_code == 404


def test_running_needs_the_permission_to_add_jobs(viewer):
    assert viewer.get(INDEX).status_code == 403
    assert viewer.post(f"{INDEX}case.plain/", OPTIONS).status_code == 403
    assert Job.objects.count() == 0


def test_who_may_only_run_is_not_sent_to_a_page_they_may_not_see(db):
    response = staff("runner", "tasks.add_job").post(f"{INDEX}case.plain/", OPTIONS)
    assert response["Location"] == INDEX


def test_running_needs_the_csrf_token(admin_user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(f"{INDEX}case.plain/", OPTIONS).status_code == 403
    assert Job.objects.count() == 0
