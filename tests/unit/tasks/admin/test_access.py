"""Sidebar, tokens, attempts, users."""

import pytest
from django.utils import timezone
from django_celery_results.models import TaskResult

from tasks.admin.navigation import sidebar
from tasks.models import ApiToken, DeadLetter
from tests.unit.tasks.admin.conftest import staff
from tests.unit.tasks.factories import make_job, make_worker

pytestmark = pytest.mark.django_db

TOKENS = "/admin/tasks/apitoken/"


def entries(rf, user, path="/admin/"):
    request = rf.get(path)
    request.user = user
    return {item["title"]: item for group in sidebar(request) for item in group["items"]}


def test_the_sidebar_offers_what_one_may_open(rf, admin_user, django_user_model, settings):
    settings.TASKS_FLOWER_URL = "http://flower.test"
    titles = set(entries(rf, admin_user))
    assert {
        "Dashboard",
        "Jobs",
        "Dead letters",
        "Failure groups",
        "Run a task",
        "Workers",
        "API tokens",
        "Users",
        "Flower",
    } <= titles
    nobody = django_user_model.objects.create_user("nobody", is_staff=True)
    assert {"Dashboard", "Flower"} <= set(entries(rf, nobody)) <= {"Dashboard", "Flower", "API docs"}


def test_the_sidebar_leaves_out_pages_that_are_not_installed(rf, admin_user, settings):
    settings.TASKS_FLOWER_URL = ""
    settings.ROOT_URLCONF = "tests.unit.tasks.admin.bare_urls"
    titles = set(entries(rf, admin_user))
    assert "Flower" not in titles
    assert "API docs" not in titles
    assert "Jobs" in titles


@pytest.mark.parametrize(
    ("path", "active"),
    [
        ("/admin/", "Dashboard"),
        ("/admin/tasks/job/", "Jobs"),
        ("/admin/tasks/job/x/change/", "Jobs"),
        ("/admin/tasks/job/run/case.plain/", "Run a task"),
        ("/admin/tasks/deadletter/x/change/", "Dead letters"),
        ("/admin/tasks/failuregroup/x/change/", "Failure groups"),
    ],
)
def test_exactly_the_place_one_is_at_is_highlighted(rf, admin_user, path, active):
    assert [title for title, item in entries(rf, admin_user, path).items() if item["active"]] == [active]


def test_the_dead_letters_entry_carries_a_badge_only_when_some_are_open(rf, admin_user):
    assert "badge" not in entries(rf, admin_user)["Dead letters"]
    DeadLetter.objects.create(reason="unrouted", queue="email-queue")
    assert entries(rf, admin_user)["Dead letters"]["badge"] == "1"


def test_a_token_is_shown_once_and_works(admin_client):
    response = admin_client.post(f"{TOKENS}add/", {"name": "ci", "scopes": ["jobs:read", "jobs:write"]})
    text = response.context["text"]
    token = ApiToken.objects.get()
    assert text in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert token.digest == ApiToken.digest_of(text)
    assert token.allows("jobs:write")
    assert text not in admin_client.get(TOKENS).content.decode()
    assert token.digest not in admin_client.get(f"{TOKENS}{token.pk}/change/").content.decode()


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"name": "", "scopes": ["jobs:read"]}, "name"),
        ({"name": "taken", "scopes": ["jobs:read"]}, "name"),
        ({"name": "new"}, "scopes"),
        ({"name": "new", "scopes": ["admin"]}, "scopes"),
        ({"name": "new", "scopes": ["jobs:read"], "expires_at": "2020-01-01T00:00"}, "expires_at"),
    ],
)
def test_a_token_is_not_issued_from_a_wrong_form(admin_client, data, field):
    ApiToken.issue("taken", ["jobs:read"])
    response = admin_client.post(f"{TOKENS}add/", data)
    assert field in response.context["form"].errors
    assert ApiToken.objects.count() == 1


def test_tokens_are_issued_and_revoked_by_those_who_may(viewer):
    token, _ = ApiToken.issue("ci", ["jobs:read"])
    assert viewer.get(TOKENS).status_code == 200
    assert viewer.post(f"{TOKENS}add/", {"name": "x", "scopes": ["jobs:read"]}).status_code == 403
    asked = {"action": "revoke", "_selected_action": [token.pk]}
    viewer.post(TOKENS, asked)
    assert ApiToken.objects.get().revoked_at is None
    revoker = staff("revoker", "tasks.view_apitoken", "tasks.delete_apitoken")
    assert "Revoked: ci." in revoker.post(TOKENS, asked, follow=True).content.decode()
    assert ApiToken.objects.get().revoked_at is not None
    assert "Nothing was done" in revoker.post(TOKENS, asked, follow=True).content.decode()


def test_a_token_is_never_deleted(admin_client):
    token, _ = ApiToken.issue("ci", ["jobs:read"])
    assert admin_client.post(f"{TOKENS}{token.pk}/delete/", {"post": "yes"}).status_code == 403
    admin_client.post(TOKENS, {"action": "delete_selected", "_selected_action": [token.pk], "post": "yes"})
    assert ApiToken.objects.exists()


def test_nobody_hands_out_a_right_that_they_do_not_have(db):
    issuer = staff("issuer", "tasks.view_apitoken", "tasks.add_apitoken", "tasks.view_job")
    response = issuer.post(f"{TOKENS}add/", {"name": "x", "scopes": ["jobs:read", "jobs:write"]})
    assert "scopes" in response.context["form"].errors
    assert not ApiToken.objects.exists()
    issuer.post(f"{TOKENS}add/", {"name": "x", "scopes": ["jobs:read"]})
    assert ApiToken.objects.get().scopes == ["jobs:read"]


def test_a_tokens_rights_can_not_be_changed(admin_client):
    token, _ = ApiToken.issue("ci", ["jobs:read"], expires_at=timezone.now())
    assert admin_client.post(f"{TOKENS}{token.pk}/change/", {"name": "x"}).status_code == 403
    assert "Expired" in admin_client.get(TOKENS).content.decode()


def test_attempts_are_listed_and_read_only(admin_client, django_assert_max_num_queries):
    job = make_job(task="case.plain")
    for number in range(12):
        row = TaskResult.objects.create(
            task_id=f"{job.pk}.{number}", task_name="case.plain", status="FAILURE", traceback="<tb>", worker="w@x",
            result='{"exc_type": "ValueError", "exc_message": "no"}',
        )  # fmt: skip
    with django_assert_max_num_queries(6):
        page = admin_client.get("/admin/django_celery_results/taskresult/").content.decode()
    assert "Failed" in page
    detail = admin_client.get(f"/admin/django_celery_results/taskresult/{row.pk}/change/").content.decode()
    for piece in ("ValueError: no", "&lt;tb&gt;", f"/admin/tasks/job/{job.pk}/change/"):
        assert piece in detail
    assert (
        admin_client.post(f"/admin/django_celery_results/taskresult/{row.pk}/delete/", {"post": "yes"}).status_code
        == 403
    )
    assert admin_client.get("/admin/django_celery_results/groupresult/").status_code == 404


@pytest.mark.parametrize(
    "url",
    [
        "/admin/auth/user/", "/admin/auth/user/add/", "/admin/auth/group/", "/admin/auth/group/add/", "/admin/tasks/",
        "/admin/tasks/workerprocess/", "/admin/tasks/workerprocess/?condition=lost", "/admin/password_change/", TOKENS,
    ],
)  # fmt: skip
def test_every_other_page_opens(admin_client, url):
    make_worker()
    assert admin_client.get(url).status_code == 200


def test_a_workers_page_opens(admin_client):
    worker = make_worker(queues=["email-queue"])
    job = make_job("running", worker=worker)
    page = admin_client.get(f"/admin/tasks/workerprocess/{worker.pk}/change/").content.decode()
    assert f"/admin/tasks/job/{job.pk}/change/" in page


def test_login_by_its_own_address_leads_to_the_dashboard(client, admin_user):
    response = client.post("/admin/login/", {"username": "admin", "password": "password"})
    assert response["Location"] == "/admin/"
