import json
import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from tasks.http import accepting
from tasks.http.problems import PROBLEM_TYPES
from tasks.models import ApiToken, Job

pytestmark = pytest.mark.django_db

GOOD = {"task": "probe.echo", "payload": {"text": "x"}}


@pytest.fixture
def token() -> str:
    return ApiToken.issue("t", ["jobs:read", "jobs:write"])[1]


@pytest.fixture
def send(client: Client, token: str, outbox):
    def post(body, **headers):
        data = body if isinstance(body, (str, bytes)) else json.dumps(body)
        headers = {
            "Authorization": f"Bearer {token}",
            **{key.replace("_", "-"): value for key, value in headers.items()},
        }
        content_type = headers.pop("Content-Type", "application/json")
        return client.post("/api/v1/jobs", data, content_type=content_type, headers=headers)

    return post


def problem(response, status: int, slug: str) -> dict:
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json"), response.content
    body = response.json()
    assert (body["type"], body["status"]) == (f"/api/v1/problems/{slug}", status)
    return body


def test_an_accepted_job_can_be_read_where_the_answer_says(send, client, token):
    accepted = send({**GOOD, "metadata": {"a": 1}, "correlation_id": "c"}, Idempotency_Key="k")
    assert accepted.status_code == 202
    body = accepted.json()
    read = client.get(accepted["Location"], headers={"Authorization": f"Bearer {token}"})
    assert read.json() == body
    assert (body["state"], body["requested_by"], body["max_attempts"], body["metadata"]) == (
        "queued", "token:t", 3, {"a": 1},
    )  # fmt: skip


def test_the_same_key_answers_with_the_same_job(send):
    ids = {send(GOOD, Idempotency_Key="k").json()["id"] for _ in range(3)}
    assert len(ids) == Job.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "status", "slug", "fields"),
    [
        ("nojson", 400, "malformed", None),
        (b"\xff\xfe", 400, "malformed", None),
        ("[" * 100_000, 400, "malformed", None),
        ("[1]", 422, "invalid", ["body"]),
        ("", 422, "invalid", ["body"]),
        ({**GOOD, "delay_seconds": 1e300}, 422, "invalid", ["delay_seconds"]),
        ({**GOOD, "expires_at": "9999-12-31T23:59:59-12:00"}, 422, "invalid", ["expires_at"]),
        ({}, 422, "invalid", ["task"]),
        ({"task": "nope.nope"}, 422, "invalid", ["task"]),
        (
            {**GOOD, "payload": {"seconds": "x", "failures": "y"}},
            422,
            "invalid",
            ["payload.seconds", "payload.failures"],
        ),
        ({**GOOD, "payload": []}, 422, "invalid", ["payload"]),
        ({**GOOD, "payload": {"text": "a\0b"}}, 422, "invalid", ["payload"]),
        ({**GOOD, "bogus": 1}, 422, "invalid", ["bogus"]),
        ({**GOOD, "priority": "urgent"}, 422, "invalid", ["priority"]),
        ({**GOOD, "delay_seconds": -1}, 422, "invalid", ["delay_seconds"]),
        ({**GOOD, "run_at": "2030-01-01T00:00:00"}, 422, "invalid", ["run_at"]),
        ({**GOOD, "payload": {"text": "x" * 300_000}}, 413, "too-large", ["payload"]),
        ({**GOOD, "payload": {"text": "x" * 11_000_000}}, 413, "too-large", None),
    ],
)
def test_a_refused_body_says_what_is_wrong_and_stores_nothing(send, body, status, slug, fields):
    told = problem(send(body), status, slug)
    assert [error["field"] for error in told.get("errors", [])] == (fields or [])
    assert Job.objects.count() == 0


def test_a_key_has_one_to_two_hundred_characters(send):
    problem(send(GOOD, Idempotency_Key=""), 422, "invalid")
    problem(send(GOOD, Idempotency_Key="k" * 201), 422, "invalid")
    assert send(GOOD, Idempotency_Key="k" * 200).status_code == 202


def test_the_headers_are_documented(client):
    operation = client.get("/api/v1/openapi.json").json()["paths"]["/api/v1/jobs"]["post"]
    assert [parameter["name"] for parameter in operation["parameters"]] == ["Idempotency-Key", "Prefer"]


def test_a_key_that_stands_for_another_payload_is_refused(send):
    send(GOOD, Idempotency_Key="k")
    told = problem(send({**GOOD, "payload": {"text": "y"}}, Idempotency_Key="k"), 422, "invalid")
    assert told["errors"][0]["field"] == "idempotency_key"


def test_only_json_is_taken(send):
    problem(send(GOOD, **{"Content-Type": "text/plain"}), 415, "unsupported-media-type")


def test_a_job_that_is_not_there_is_not_found(client, token):
    headers = {"Authorization": f"Bearer {token}"}
    problem(client.get(f"/api/v1/jobs/{uuid.uuid4()}", headers=headers), 404, "not-found")
    problem(client.get("/api/v1/jobs/7", headers=headers), 404, "not-found")
    problem(client.get("/api/v1/nothing", headers=headers), 404, "not-found")


def test_a_wrong_method_names_the_right_ones(client):
    response = client.delete("/api/v1/jobs")
    problem(response, 405, "method-not-allowed")
    assert set(response["Allow"].split(", ")) == {"GET", "POST"}


def test_a_database_that_is_away_is_told_as_such(send, monkeypatch):
    def away(*_, **__):
        raise OperationalError("connection refused")

    monkeypatch.setattr(accepting, "enqueue", away)
    response = send(GOOD)
    problem(response, 503, "unavailable")
    assert int(response["Retry-After"]) > 0


def test_a_crash_is_a_problem_too(send, client, monkeypatch):
    monkeypatch.setattr(accepting, "enqueue", lambda *_, **__: 1 / 0)
    client.raise_request_exception = False
    problem(send(GOOD), 500, "internal")


@pytest.mark.parametrize("text", ["", "Bearer", "Bearer wrong", "Basic dDp0"])
def test_without_a_good_token_nobody_is_let_in(client, text):
    headers = {"Authorization": text} if text else {}
    response = client.post("/api/v1/jobs", "{}", content_type="application/json", headers=headers)
    problem(response, 401, "unauthenticated")
    assert response["WWW-Authenticate"] == "Bearer"


def test_an_expired_token_is_no_token(client):
    _, text = ApiToken.issue("old", ["jobs:write"], expires_at=timezone.now() - timedelta(seconds=1))
    headers = {"Authorization": f"Bearer {text}"}
    problem(client.post("/api/v1/jobs", "{}", content_type="application/json", headers=headers), 401, "unauthenticated")


def test_a_token_without_the_scope_is_told_which(client):
    _, text = ApiToken.issue("reader", ["jobs:read"])
    headers = {"Authorization": f"Bearer {text}"}
    told = problem(
        client.post("/api/v1/jobs", "{}", content_type="application/json", headers=headers), 403, "forbidden"
    )
    assert "jobs:write" in told["detail"]


def test_a_token_is_kept_as_a_hash_only():
    token, text = ApiToken.issue("t", ["jobs:read"])
    assert text not in json.dumps([str(value) for value in vars(token).values()])
    assert ApiToken.objects.get(digest=ApiToken.digest_of(text)) == token


def staff(*permissions: str) -> User:
    user = User.objects.create_user("ada", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def test_a_staff_session_needs_the_csrf_token(outbox):
    client = Client(enforce_csrf_checks=True)
    client.force_login(staff("add_job"))
    problem(client.post("/api/v1/jobs", json.dumps(GOOD), content_type="application/json"), 403, "forbidden")
    client.cookies["csrftoken"] = "a" * 32
    accepted = client.post(
        "/api/v1/jobs", json.dumps(GOOD), content_type="application/json", headers={"X-CSRFToken": "a" * 32}
    )
    assert (accepted.status_code, accepted.json()["requested_by"]) == (202, "ada")


def test_a_staff_session_needs_the_permission(client):
    client.force_login(staff("view_job"))
    told = problem(client.post("/api/v1/jobs", json.dumps(GOOD), content_type="application/json"), 403, "forbidden")
    assert told["detail"] == "You may not enqueue jobs: ask for the permission Platform | job | Can add job."


def test_a_customers_session_is_not_enough(client):
    client.force_login(User.objects.create_user("bob", password="x"))
    problem(client.post("/api/v1/jobs", json.dumps(GOOD), content_type="application/json"), 401, "unauthenticated")


def test_a_foreign_host_is_not_called_bad_json(client):
    problem(client.get("/api/v1/jobs/7", headers={"Host": "evil.example"}), 400, "bad-request")


def test_a_problem_type_that_is_not_there_is_not_found(client):
    problem(client.get("/api/v1/problems/zz"), 404, "not-found")


@pytest.mark.parametrize("slug", PROBLEM_TYPES)
def test_every_problem_type_is_explained_at_its_address(client, slug):
    assert client.get(f"/api/v1/problems/{slug}").json()["remedy"]


def test_the_schema_can_be_read(client):
    assert "/api/v1/jobs" in client.get("/api/v1/openapi.json").json()["paths"]


@pytest.mark.parametrize("task", ["platform.prune", "platform.mail_admins", "platform.deliver_webhook"])
def test_the_platforms_own_tasks_are_nobodys_to_ask_for(send, client, token, task):
    problem(send({"task": task}), 422, "invalid")
    headers = {"Authorization": f"Bearer {token}"}
    many = client.post(
        "/api/v1/jobs/batch", {"jobs": [{"task": task}]}, content_type="application/json", headers=headers
    )
    problem(many, 422, "invalid")
    assert not Job.objects.exists()
