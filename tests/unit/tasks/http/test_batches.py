"""Many jobs in one request: what is wrong with one refuses that one."""

import json
import uuid

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tasks.jobs import cancel
from tasks.models import ApiToken, Batch, Job
from tests.unit.tasks.http.test_jobs import problem

pytestmark = pytest.mark.django_db

GOOD = {"task": "probe.echo", "payload": {"text": "x"}}


@pytest.fixture
def token() -> str:
    return ApiToken.issue("t", ["jobs:read", "jobs:write"])[1]


@pytest.fixture
def send(client: Client, token: str, outbox):
    def post(body, *, content_type="application/json", **headers):
        data = body if isinstance(body, (str, bytes)) else json.dumps(body)
        headers = {"Authorization": f"Bearer {token}"} | {name.replace("_", "-"): headers[name] for name in headers}
        return client.post("/api/v1/jobs/batch", data, content_type=content_type, headers=headers)

    return post


@pytest.fixture
def read(client: Client, token: str):
    return lambda address: client.get(address, headers={"Authorization": f"Bearer {token}"})


def test_every_good_job_is_accepted_in_its_place(send, read, outbox, django_capture_on_commit_callbacks):
    jobs = [{**GOOD, "payload": {"text": str(n)}, "correlation_id": f"c{n}"} for n in range(20)]
    with django_capture_on_commit_callbacks(execute=True):
        answer = send({"name": "night", "jobs": jobs})
    assert (answer.status_code, answer.json()["rejected"]) == (202, [])
    accepted = answer.json()["accepted"]
    assert [one["index"] for one in accepted] == list(range(20))
    for one in (accepted[0], accepted[13]):
        job = read(one["location"]).json()
        assert (job["id"], job["payload"]["text"], job["requested_by"], job["correlation_id"]) == (
            one["id"], str(one["index"]), "token:t", f"c{one['index']}",
        )  # fmt: skip
    assert [str(message.job_id) for message in outbox] == [one["id"] for one in accepted]


def test_a_job_that_is_wrong_refuses_itself_alone(send):
    jobs = [
        GOOD,
        {"task": "nope.nope"},
        {**GOOD, "priority": "urgent"},
        GOOD,
        [],
        {**GOOD, "payload": {"seconds": "x"}},
        {**GOOD, "payload": {"text": "x" * 300_000}},
        {**GOOD, "run_at": "2030-01-01T00:00:00"},
        {**GOOD, "bogus": 1},
    ]
    answer = send({"jobs": jobs}).json()
    assert [one["index"] for one in answer["accepted"]] == [0, 3]
    told = [
        (one["index"], one["problem"]["status"], [error["field"] for error in one["problem"]["errors"]])
        for one in answer["rejected"]
    ]
    assert told == [
        (1, 422, ["task"]),
        (2, 422, ["priority"]),
        (4, 422, ["body"]),
        (5, 422, ["payload.seconds"]),
        (6, 413, ["payload"]),
        (7, 422, ["run_at"]),
        (8, 422, ["bogus"]),
    ]
    first = answer["rejected"][0]["problem"]
    assert (first["type"], first["instance"]) == ("/api/v1/problems/invalid", "/api/v1/jobs/batch#/jobs/1")
    assert (answer["batch"]["total"], Job.objects.count()) == (2, 2)


def test_a_refused_job_is_told_what_it_would_be_told_alone(send, client, token):
    bad = {**GOOD, "payload": {"seconds": "x"}, "delay_seconds": -1}
    alone = client.post(
        "/api/v1/jobs",
        json.dumps(bad),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    ).json()
    among = send({"jobs": [bad, GOOD]}).json()["rejected"][0]["problem"]
    assert {**among, "instance": ""} == {**alone, "instance": ""}


def test_where_every_job_is_refused_there_is_no_batch(send):
    told = problem(send({"jobs": [{"task": "nope.nope"}, {**GOOD, "bogus": 1}]}), 422, "invalid")
    assert [one["index"] for one in told["rejected"]] == [0, 1]
    assert (Batch.objects.count(), Job.objects.count()) == (0, 0)


def test_a_batch_tells_how_far_it_is(send, read):
    answer = send({"jobs": [GOOD, GOOD, {**GOOD, "delay_seconds": 60}], "name": "night"})
    cancel(answer.json()["accepted"][0]["id"])
    batch = read(answer["Location"]).json()
    assert (batch["id"], batch["name"], batch["total"], batch["unfinished"]) == (
        answer.json()["batch"]["id"], "night", 3, 2,
    )  # fmt: skip
    assert {state: count for state, count in batch["jobs"].items() if count} == {
        "cancelled": 1, "queued": 1, "scheduled": 1,
    }  # fmt: skip


def test_a_batch_that_is_not_there_is_not_found(read):
    problem(read(f"/api/v1/batches/{uuid.uuid4()}"), 404, "not-found")


@pytest.mark.parametrize("with_header", [True, False])
def test_what_is_sent_again_is_not_done_again(send, with_header):
    jobs = [{**GOOD, "idempotency_key": "own"}, GOOD if with_header else {**GOOD, "idempotency_key": "other"}]
    headers = {"Idempotency_Key": "night"} if with_header else {}
    first, second = (send({"jobs": jobs}, **headers).json() for _ in range(2))
    assert first["accepted"] == second["accepted"]
    assert Job.objects.count() == 2
    assert (first["batch"]["id"] == second["batch"]["id"]) is with_header


def test_a_key_that_stands_for_another_body_is_refused(send):
    send({"jobs": [GOOD]}, Idempotency_Key="night")
    told = problem(send({"jobs": [GOOD, GOOD]}, Idempotency_Key="night"), 422, "invalid")
    assert told["errors"][0]["field"] == "idempotency_key"
    assert Job.objects.count() == 1


def test_a_jobs_key_that_stands_for_another_payload_refuses_that_job(send):
    key = {"idempotency_key": "k"}
    send({"jobs": [{**GOOD, **key}]})
    answer = send({"jobs": [GOOD, {**GOOD, **key, "payload": {"text": "other"}}]}).json()
    assert [one["index"] for one in answer["accepted"]] == [0]
    assert answer["rejected"][0]["problem"]["errors"][0]["field"] == "idempotency_key"
    assert answer["batch"]["total"] == 1


def test_the_same_key_twice_in_one_batch_is_one_job(send):
    accepted = send({"jobs": [{**GOOD, "idempotency_key": "k"}] * 2}).json()["accepted"]
    assert accepted[0]["id"] == accepted[1]["id"]
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "status", "slug", "fields"),
    [
        ("nojson", 400, "malformed", []),
        ("", 422, "invalid", ["body"]),
        ("[]", 422, "invalid", ["body"]),
        ({}, 422, "invalid", ["jobs"]),
        ({"jobs": []}, 422, "invalid", ["jobs"]),
        ({"jobs": {}}, 422, "invalid", ["jobs"]),
        ({"jobs": [GOOD] * 1001}, 422, "invalid", ["jobs"]),
        ({"jobs": [GOOD], "bogus": 1}, 422, "invalid", ["bogus"]),
    ],
)
def test_a_body_that_is_no_batch_is_refused_as_a_whole(send, body, status, slug, fields):
    told = problem(send(body), status, slug)
    assert [error["field"] for error in told.get("errors", [])] == fields
    assert Job.objects.count() == 0


def test_a_thousand_jobs_are_not_too_many(send):
    answer = send({"jobs": [GOOD] * 1000}).json()
    assert (len(answer["accepted"]), answer["batch"]["jobs"]["queued"]) == (1000, 1000)


def test_only_json_is_taken(send):
    problem(send({"jobs": [GOOD]}, content_type="text/plain"), 415, "unsupported-media-type")


def test_a_body_past_the_limit_is_told_the_limit(send, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    told = problem(send({"jobs": [GOOD] * 100}), 413, "too-large")
    assert "1,000 bytes" in told["detail"]


@pytest.mark.parametrize("key", ["", "k" * 191])
def test_a_key_has_room_for_each_jobs_own(send, key):
    told = problem(send({"jobs": [GOOD]}, Idempotency_Key=key), 422, "invalid")
    assert told["errors"][0]["field"] == "Idempotency-Key"


def test_strangers_are_not_let_in(client):
    client.force_login(User.objects.create_user("bob", password="x"))
    problem(client.post("/api/v1/jobs/batch", "{}", content_type="application/json"), 401, "unauthenticated")
    problem(client.get(f"/api/v1/batches/{uuid.uuid4()}"), 401, "unauthenticated")


def test_the_schema_shows_what_a_job_of_a_batch_is(client):
    operation = client.get("/api/v1/openapi.json").json()["paths"]["/api/v1/jobs/batch"]["post"]
    jobs = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]["jobs"]
    assert (jobs["minItems"], jobs["maxItems"]) == (1, 1000)
    assert {"task", "payload", "idempotency_key"} <= set(jobs["items"]["properties"])
