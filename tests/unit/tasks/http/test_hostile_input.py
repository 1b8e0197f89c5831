"""What nobody sends on purpose, or only with one: a problem each time, never a fault of ours, and nothing is stored."""

import json

import pytest
from django.test import Client

from tasks.http import access
from tasks.models import ApiToken, Batch, Job

pytestmark = pytest.mark.django_db

BODIES = {
    "nothing": (b"", 422),
    "no JSON": (b"nojson", 400),
    "half of it": (b'{"task": "probe.echo"', 400),
    "two documents": (b'{"task": "probe.echo"} {}', 400),
    "NUL after it": (b'{"task": "probe.echo"}\0', 400),
    "a byte order mark": (b'\xef\xbb\xbf{"task": "probe.echo"}', 400),
    "UTF-16": ('{"task": "probe.echo"}'.encode("utf-16"), 400),
    "broken UTF-8": (b'{"task": "probe.echo", "payload": {"text": "\xff"}}', 400),
    "UTF-8 of a surrogate": (b'{"task": "probe.echo", "payload": {"text": "\xed\xa0\x80"}}', 400),
    "half a surrogate pair": (rb'{"task": "probe.echo", "payload": {"text": "\ud800"}}', 400),
    "half a pair as a key": (rb'{"task": "probe.echo", "metadata": {"\udc00": 1}}', 400),
    "a member twice": (b'{"task": "probe.echo", "task": "probe.sleep"}', 400),
    "a member twice, further in": (b'{"task": "probe.echo", "payload": {"text": "a", "text": "b"}}', 400),
    "a member twice, one of them escaped": (rb'{"task": "probe.echo", "t\u0061sk": "probe.sleep"}', 400),
    "no number": (b'{"task": "probe.echo", "metadata": {"n": NaN}}', 400),
    "infinity": (b'{"task": "probe.echo", "metadata": {"n": -Infinity}}', 400),
    "a number beyond floats": (b'{"task": "probe.echo", "metadata": {"n": 1e400}}', 422),
    "a delay beyond floats": (b'{"task": "probe.echo", "delay_seconds": 1e400}', 422),
    "a delay of many digits": (b'{"task": "probe.echo", "delay_seconds": 1' + b"0" * 4000 + b"}", 422),
    "a number of 5,000 digits": (b'{"task": "probe.echo", "metadata": {"n": 1' + b"0" * 5000 + b"}}", 400),
    "arrays in arrays": (b"[" * 100_000, 400),
    "objects in objects": (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, 400),
    "deep metadata": (b'{"task": "probe.echo", "metadata": ' + b'{"a":' * 300 + b"1" + b"}" * 301, 400),
    "an array": (b"[]", 422),
    "a number": (b"1", 422),
    "null": (b"null", 422),
    "null for the task": (b'{"task": null}', 422),
    "a task of many characters": (json.dumps({"task": "x" * 10_000}).encode(), 422),
    "NUL in the task": (rb'{"task": "probe.echo\u0000"}', 422),
    "NUL in the payload": (rb'{"task": "probe.echo", "payload": {"text": "\u0000"}}', 422),
    "NUL in a key": (rb'{"task": "probe.echo", "metadata": {"\u0000": 1}}', 422),
    "NUL in the correlation id": (rb'{"task": "probe.echo", "correlation_id": "\u0000"}', 422),
    "a header in the correlation id": (rb'{"task": "probe.echo", "correlation_id": "a\r\nSet-Cookie: x=1"}', 422),
    "a line end in the correlation id": (rb'{"task": "probe.echo", "correlation_id": "a\n"}', 422),
    "an escape sequence": (rb'{"task": "probe.echo", "correlation_id": "\u001b[31m"}', 422),
    "a moment that is none": (b'{"task": "probe.echo", "run_at": "2026-02-30T00:00:00Z"}', 422),
    "a delay that is no number": (b'{"task": "probe.echo", "delay_seconds": false}', 422),
    "a delay as text": (b'{"task": "probe.echo", "delay_seconds": "5"}', 422),
    "a moment in seconds": (b'{"task": "probe.echo", "run_at": 1900000000}', 422),
    "a moment as a number": (b'{"task": "probe.echo", "run_at": 1e300}', 422),
    "the last moment": (b'{"task": "probe.echo", "expires_at": "9999-12-31T23:59:59.999999-23:59"}', 422),
    "the first moment": (b'{"task": "probe.echo", "run_at": "0001-01-01T00:00:00+23:59"}', 422),
    "much metadata": (json.dumps({"task": "probe.echo", "metadata": {"x": "x" * 20_000}}).encode(), 413),
}  # fmt: skip


def assert_problem(answer, status: int) -> None:
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json"), answer.content[:300]
    told = answer.json()
    assert (told["status"], told["type"].startswith("/api/v1/problems/")) == (status, True)
    assert (Job.objects.count(), Batch.objects.count()) == (0, 0)


@pytest.fixture
def ann(caller, outbox):
    return caller("ann")


@pytest.mark.parametrize("what", BODIES)
def test_a_body_like_that_is_refused(ann, what):
    body, status = BODIES[what]
    assert_problem(ann.post("/api/v1/jobs", body), status)


@pytest.mark.parametrize("what", [what for what, (body, _) in BODIES.items() if body.startswith(b'{"task"')])
def test_a_job_like_that_is_refused_among_others_too(ann, what):
    body, status = BODIES[what]
    # Where the whole is JSON, the job alone is refused; and since it is the only one, the batch.
    assert_problem(ann.post("/api/v1/jobs/batch", b'{"jobs": [' + body + b"]}"), 422 if status == 413 else status)


@pytest.mark.parametrize("address", ["/api/v1/jobs", "/api/v1/jobs/batch"])
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
        "application/json/x",
        "application/jsonp",
        "x" * 5_000,
    ],
)
def test_a_body_that_does_not_say_json_is_not_guessed_at(ann, address, content_type):
    body = json.dumps({"task": "probe.echo"})
    assert_problem(ann.post(address, body, **{"Content-Type": content_type}), 415)


@pytest.mark.parametrize(
    "key", ["", "x" * 201, "a\0", "a\r\nX-Evil: 1", "a\nb", "\x1b[31m", "\x7f"]
)  # what a server that lets it through would hand on
@pytest.mark.parametrize("address", ["/api/v1/jobs", "/api/v1/jobs/batch"])
def test_a_key_like_that_is_refused(ann, address, key):
    job = {"task": "probe.echo", "payload": {"text": "x"}}
    body = {"jobs": [job]} if "batch" in address else job
    assert_problem(ann.post(address, body, Idempotency_Key=key), 422)


@pytest.mark.parametrize("field", ["name", "idempotency_key"])
@pytest.mark.parametrize("text", ["a\0", "a\r\nb", "\x1b"])
def test_a_batch_takes_no_control_characters_either(ann, field, text):
    job = {"task": "probe.echo", "payload": {"text": "x"}} | ({"idempotency_key": text} if field != "name" else {})
    assert_problem(ann.post("/api/v1/jobs/batch", {"jobs": [job]} | ({"name": text} if field == "name" else {})), 422)


@pytest.mark.parametrize(
    "authorization",
    ["Bearer ", "Bearer \0", "Bearer \xff\xfe", "Bearer " + "x" * 100_000, "Bearer a b", "bearer", "Negotiate YII="],
)
def test_a_token_that_is_none_is_no_fault_of_ours(authorization):
    answer = Client().get("/api/v1/jobs", headers={"Authorization": authorization})
    assert_problem(answer, 401)
    assert answer["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "address",
    ["/api/v1/jobs/%00", "/api/v1/jobs/..%2f..%2fetc", "/api/v1/jobs/%ff%fe/events", "/api/v1/batches/" + "9" * 5_000,
     "/api/v1/tasks/%00", "/api/v1/problems/%00", "/api/v1//jobs", "/api/v1/jobs/00000000-0000-0000-0000-00000000000g",
     "/api/v1/jobs/%0d%0aSet-Cookie:x"],
)  # fmt: skip
def test_an_address_that_leads_nowhere_is_not_found(ann, address):
    assert_problem(ann.get(address), 404)


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options", "head"])
@pytest.mark.parametrize("address", ["/api/v1/jobs", "/api/v1/jobs/batch", "/api/v1/tasks"])
def test_a_method_that_an_address_lacks_names_those_it_has(ann, address, method):
    answer = getattr(ann.client, method)(address)
    assert (answer.status_code, bool(answer["Allow"])) == (405, True)


def test_a_revoked_token_is_told_as_one_that_never_was(caller, monkeypatch):
    monkeypatch.setattr(access, "REMEMBERED_SECONDS", 0)
    monkeypatch.setattr(access, "recent_tokens", access.RecentTokens())
    bob = caller("bob")
    assert bob.get("/api/v1/jobs").status_code == 200
    ApiToken.objects.all().delete()
    assert_problem(bob.get("/api/v1/jobs"), 401)


def test_a_key_of_letters_beyond_ascii_is_as_good_as_any(ann):
    job = {"task": "probe.echo", "payload": {"text": "ü😀"}, "correlation_id": "ü😀"}
    answers = [ann.post("/api/v1/jobs", job, Idempotency_Key="schl\xfcssel") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["id"] == answers[1].json()["id"]
