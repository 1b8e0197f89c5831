"""The pages of webhook endpoints."""

import pytest

from tasks.models import AuditEntry, WebhookDelivery, WebhookEndpoint
from tasks.webhooks import endpoints
from tests.unit.tasks.admin.conftest import staff

pytestmark = pytest.mark.django_db

ROOT = "/admin/tasks/webhookendpoint/"
GIVEN = {"url": "https://receiver.example/hook", "events": ["job.dead", "batch.finished"], "description": "Shop"}


@pytest.fixture(autouse=True)
def public(names):
    names("93.184.216.34")


def add(requested_by="admin", **given):
    return endpoints.add(**GIVEN | given, requested_by=requested_by)[0]


def test_an_endpoint_is_added_and_its_secret_shown_once(admin_client):
    answer = admin_client.post(f"{ROOT}add/", GIVEN | {"hears_all": "on"})
    secret = answer.context["secret"]
    assert secret in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    endpoint = WebhookEndpoint.objects.get()
    assert (endpoint.owner, endpoint.created_by, endpoint.events) == ("", "admin", ["batch.finished", "job.dead"])
    for page in (ROOT, f"{ROOT}{endpoint.pk}/change/"):
        assert secret not in admin_client.get(page).content.decode()


def test_what_is_wrong_stands_at_its_field_and_nothing_typed_is_lost(admin_client):
    answer = admin_client.post(f"{ROOT}add/", GIVEN | {"url": "https://169.254.169.254/latest"})
    text = answer.content.decode()
    assert "clouds keep their metadata" in text
    assert "https://169.254.169.254/latest" in text
    assert answer.context["form"].errors.keys() == {"url"}
    assert not WebhookEndpoint.objects.exists()


def test_who_may_not_hear_of_everybodys_jobs_hears_of_their_own(client):
    browser = staff("ann", "tasks.add_webhookendpoint", "tasks.view_webhookendpoint")
    assert "You may not have webhooks of everybody" in browser.get(f"{ROOT}add/").content.decode()
    browser.post(f"{ROOT}add/", GIVEN | {"hears_all": "on"})
    assert WebhookEndpoint.objects.get().owner == "ann"


def test_everyone_sees_their_own_and_who_may_hear_all_sees_all(admin_client):
    mine, others = add("ann"), add("bob")
    browser = staff("ann", "tasks.view_webhookendpoint", "tasks.delete_webhookendpoint")
    assert str(mine.pk) in browser.get(ROOT).content.decode()
    assert str(others.pk) not in browser.get(ROOT).content.decode()
    assert browser.post(f"{ROOT}{others.pk}/remove/").status_code == 404
    assert str(others.pk) in admin_client.get(ROOT).content.decode()


def test_a_list_costs_the_same_queries_for_many_endpoints(admin_client, django_assert_max_num_queries):
    for number in range(12):
        add(description=f"number {number}")
    with django_assert_max_num_queries(8):
        assert admin_client.get(ROOT).content.decode().count("number ") >= 12


def test_a_test_leads_to_the_job_that_delivers_it_and_is_listed(admin_client):
    endpoint = add()
    answer = admin_client.post(f"{ROOT}{endpoint.pk}/test/")
    job = WebhookDelivery.objects.get().job
    assert answer["Location"] == f"/admin/tasks/job/{job.pk}/change/"
    for page in (ROOT, f"{ROOT}{endpoint.pk}/change/"):
        assert f"/admin/tasks/job/{job.pk}/change/" in admin_client.get(page).content.decode()


def test_a_rotation_shows_the_new_secret_once(admin_client):
    endpoint = add()
    assert "24" in admin_client.get(f"{ROOT}{endpoint.pk}/rotate/").content.decode()
    answer = admin_client.post(f"{ROOT}{endpoint.pk}/rotate/", {"keep_old_hours": "1"})
    assert answer.context["secret"] in answer.content.decode()
    endpoint.refresh_from_db()
    assert len(endpoint.secrets) == 2
    wrong = admin_client.post(f"{ROOT}{endpoint.pk}/rotate/", {"keep_old_hours": "1000"})
    assert wrong.context["form"].errors.keys() == {"keep_old_hours"}


def test_an_endpoint_is_disabled_enabled_edited_and_removed(admin_client):
    endpoint = add()
    page = f"{ROOT}{endpoint.pk}/"
    assert admin_client.post(f"{page}disable/", {"reason": "moving"})["Location"] == f"{page}change/"
    assert "moving" in admin_client.get(f"{page}change/").content.decode()
    again = admin_client.post(f"{page}disable/", {"reason": ""}).content.decode()
    assert "Nothing was changed: the endpoint is disabled already." in again
    admin_client.post(f"{page}test/")
    assert not WebhookDelivery.objects.exists()
    admin_client.post(f"{page}enable/")
    assert "https://receiver.example/hook" in admin_client.get(f"{page}edit/").content.decode()
    admin_client.post(
        f"{page}edit/", {"url": "https://other.example/", "events": ["job.dead"], "tasks": ["probe.echo"]}
    )
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.events, endpoint.tasks) == ("https://other.example/", ["job.dead"], ["probe.echo"])
    assert admin_client.post(f"{page}remove/")["Location"] == ROOT
    assert not WebhookEndpoint.objects.exists()
    assert set(AuditEntry.objects.values_list("actor", flat=True)) == {"admin"}


@pytest.mark.parametrize("act", ["edit", "rotate", "test", "disable", "enable", "remove"])
def test_each_act_takes_its_right(act):
    endpoint = add("ann")
    browser = staff("ann", "tasks.view_webhookendpoint")
    assert browser.post(f"{ROOT}{endpoint.pk}/{act}/").status_code == 403
    page = browser.get(f"{ROOT}{endpoint.pk}/change/").content.decode()
    assert "You may not change webhook endpoints" in page
    assert WebhookEndpoint.objects.get().disabled_at is None


def test_looking_asks_and_does_nothing(admin_client):
    endpoint = add()
    for act in ("edit", "rotate", "test", "disable", "enable", "remove"):
        assert admin_client.get(f"{ROOT}{endpoint.pk}/{act}/").status_code in (200, 302)
    assert WebhookEndpoint.objects.get().secrets == endpoint.secrets
    assert not WebhookDelivery.objects.exists()
