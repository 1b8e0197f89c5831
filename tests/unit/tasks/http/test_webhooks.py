"""Webhook endpoints over HTTP: secrets shown once, one's own alone, and a problem for all that is wrong."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from tasks.models import ApiToken, AuditEntry, Job, WebhookDelivery, WebhookEndpoint
from tasks.permissions import SCOPES

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]

ROOT = "/api/v1/webhooks"
GIVEN = {"url": "https://receiver.example/hook", "events": ["job.dead"]}


@pytest.fixture(autouse=True)
def public(names):
    names("93.184.216.34")


@pytest.fixture
def caller(client: Client):
    """``caller("ci")(method, path, body)`` as the token of this name, with every scope but those ``without``."""

    def enter(name: str, *, without: tuple[str, ...] = ("webhooks:all",)):
        text = ApiToken.issue(name, [scope for scope in SCOPES if scope not in without])[1]

        def send(method: str, path: str = "", body: Any = None):
            data = {"data": "" if body is None else json.dumps(body), "content_type": "application/json"}
            headers = {"Authorization": f"Bearer {text}"}
            return getattr(client, method)(f"{ROOT}{path}", **({} if method == "get" else data), headers=headers)

        return send

    return enter


def fields(answer: Any) -> list[str]:
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")
    return [error["field"] for error in answer.json()["errors"]]


def test_an_endpoint_is_added_and_its_secret_shown_once(caller):
    call = caller("ci")
    added = call("post", body=GIVEN)
    assert (added.status_code, added["Cache-Control"]) == (201, "no-store")
    secret, path = added.json()["secret"], added["Location"].removeprefix(ROOT)
    assert secret.startswith("whsec_")
    read = call("get", path)
    assert read.json() | {"secret": secret} == added.json()
    assert (read.json()["owner"], read.json()["hears_all"], read.json()["is_enabled"]) == ("token:ci", False, True)
    assert "secret" not in read.json()
    assert [each["id"] for each in call("get").json()] == [read.json()["id"]]
    assert AuditEntry.objects.get().verb == "webhooks.add"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "http://receiver.example/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "url"),
        ({"url": "https://2130706433/"}, "url"),
        ({"url": "https://ann:x@receiver.example/"}, "url"),
        ({"url": ""}, "url"),
        ({"events": []}, "events"),
        ({"events": ["job.exploded"]}, "events"),
        ({"tasks": ["no.such"]}, "tasks"),
        ({"tasks": ["platform.deliver_webhook"]}, "tasks"),
        ({"description": "a\0b"}, "description"),
        ({"description": "a" * 201}, "description"),
        ({"secret": "mine"}, "secret"),
    ],
)
def test_what_is_wrong_is_named(caller, change, field):
    assert fields(caller("ci")("post", body=GIVEN | change)) == [field]
    assert not WebhookEndpoint.objects.exists()


def test_a_name_that_leads_inside_is_refused(caller, names):
    names("93.184.216.34", "127.0.0.1")
    answer = caller("ci")("post", body=GIVEN)
    assert fields(answer) == ["url"]
    assert "receiver.example leads to 127.0.0.1" in answer.json()["errors"][0]["detail"]


def test_to_hear_of_everybodys_jobs_takes_a_scope_of_its_own(caller):
    refused = caller("ci")("post", body=GIVEN | {"hears_all": True})
    assert (refused.status_code, refused.json()["detail"]) == (403, "the token lacks the scope webhooks:all")
    added = caller("boss", without=())("post", body=GIVEN | {"hears_all": True})
    assert (added.json()["owner"], added.json()["hears_all"]) == ("", True)


def test_what_belongs_to_others_is_not_there(caller):
    mine, other, all_of_them = caller("ci"), caller("other"), caller("boss", without=())
    path = "/" + mine("post", body=GIVEN).json()["id"]
    assert other("get").json() == []
    for method, suffix in [("get", ""), ("patch", ""), ("delete", ""), ("post", "/rotate"), ("post", "/test")]:
        body = {} if method == "patch" else None
        assert other(method, path + suffix, body).status_code == 404
    assert other("get", path + "/deliveries").status_code == 404
    assert all_of_them("get", path).status_code == 200
    assert WebhookEndpoint.objects.count() == 1


@pytest.mark.parametrize(("method", "path"), [("get", ""), ("patch", ""), ("delete", ""), ("post", "/rotate")])
def test_one_that_there_is_not_is_told(caller, method, path):
    answer = caller("ci")(method, f"/{uuid4()}{path}", {} if method == "patch" else None)
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("get", "", "webhooks:read"),
        ("post", "", "webhooks:write"),
        ("patch", f"/{uuid4()}", "webhooks:write"),
        ("delete", f"/{uuid4()}", "webhooks:write"),
        ("post", f"/{uuid4()}/rotate", "webhooks:write"),
        ("post", f"/{uuid4()}/test", "webhooks:write"),
        ("get", f"/{uuid4()}/deliveries", "webhooks:read"),
    ],
)
def test_each_door_takes_its_scope(caller, method, path, scope):
    answer = caller("ci", without=(scope,))(method, path, {})
    assert (answer.status_code, answer.json()["detail"]) == (403, f"the token lacks the scope {scope}")


def test_an_endpoint_is_changed_disabled_and_enabled(caller):
    call = caller("ci")
    path = "/" + call("post", body=GIVEN).json()["id"]
    changed = call("patch", path, {"events": ["job.cancelled", "batch.finished"], "description": "desk"}).json()
    assert (changed["events"], changed["description"]) == (["batch.finished", "job.cancelled"], "desk")
    assert changed["url"] == GIVEN["url"]
    off = call("patch", path, {"is_enabled": False}).json()
    assert (off["is_enabled"], off["disabled_why"]) == (False, "by token:ci")
    assert call("patch", path, {"is_enabled": False}).status_code == 200
    assert call("patch", path, {"is_enabled": True}).json()["disabled_at"] is None
    assert fields(call("patch", path, {"url": "https://10.0.0.1/"})) == ["url"]
    verbs = AuditEntry.objects.order_by("id").values_list("verb", flat=True)
    assert list(verbs) == ["webhooks.add", "webhooks.change", "webhooks.disable", "webhooks.enable"]


def test_a_rotation_shows_another_secret_and_keeps_the_old_one_for_a_while(caller):
    call = caller("ci")
    added = call("post", body=GIVEN).json()
    rotated = call("post", f"/{added['id']}/rotate")
    assert (rotated.status_code, rotated["Cache-Control"]) == (200, "no-store")
    assert rotated.json()["secret"] != added["secret"]
    assert len(WebhookEndpoint.objects.get().secrets) == 2
    call("post", f"/{added['id']}/rotate", {"keep_old_hours": 0})
    assert len(WebhookEndpoint.objects.get().secrets) == 1
    assert fields(call("post", f"/{added['id']}/rotate", {"keep_old_hours": 1000})) == ["keep_old_hours"]


def test_a_test_is_a_job_and_its_delivery_is_listed(caller):
    call = caller("ci")
    path = "/" + call("post", body=GIVEN).json()["id"]
    tests = [call("post", path + "/test") for _ in range(3)]
    assert [answer.status_code for answer in tests] == [202, 202, 202]
    first = call("get", path + "/deliveries?limit=2").json()
    rest = call("get", first["next"].removeprefix(ROOT)).json()
    jobs = [item["job_id"] for page in (first, rest) for item in page["items"]]
    assert jobs == [answer.json()["job_id"] for answer in reversed(tests)]
    item = rest["items"][0]
    assert (item["type"], item["state"], item["message_id"]) == ("webhook.test", "queued", f"msg_{item['job_id']}")
    assert rest["next"] is None
    call("patch", path, {"is_enabled": False})
    assert call("post", path + "/test").status_code == 409


def test_a_removed_endpoint_is_gone_and_its_jobs_stay(caller):
    call = caller("ci")
    path = "/" + call("post", body=GIVEN).json()["id"]
    call("post", path + "/test")
    assert call("delete", path).status_code == 204
    assert call("get", path).status_code == 404
    assert (WebhookDelivery.objects.count(), Job.objects.count()) == (0, 1)


def test_nobody_has_endpoints_without_end(caller, monkeypatch):
    monkeypatch.setattr("tasks.webhooks.endpoints.MOST_ENDPOINTS", 2)
    call = caller("ci")
    assert [call("post", body=GIVEN).status_code for _ in range(3)] == [201, 201, 422]
    assert caller("other")("post", body=GIVEN).status_code == 201


def test_what_an_endpoint_is_told_is_in_the_schema(client):
    operation = client.get("/api/v1/openapi.json").json()["paths"]["/api/v1/webhooks"]["post"]
    told = operation["callbacks"]["message"]["{$request.body#/url}"]["post"]["requestBody"]
    assert set(told["content"]["application/json"]["schema"]["properties"]) == {"type", "version", "timestamp", "data"}
