"""A key is its owner's, and stands for one request."""

import json
import threading
from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.utils import timezone

from tasks import statements
from tasks.dispatch import enqueue
from tasks.models import Batch, Job
from tests.unit.tasks.http.test_jobs import problem

GOOD = {"task": "probe.echo", "payload": {"text": "x"}}
KEY = {"Idempotency_Key": "k"}

pytestmark = pytest.mark.django_db
on_postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer")


@pytest.fixture
def ann(caller, outbox):
    return caller("ann")


def test_the_same_request_is_answered_the_same(ann):
    first, second = (ann.post("/api/v1/jobs", GOOD, **KEY) for _ in range(2))
    assert (first.status_code, first["Location"], first.json()) == (
        second.status_code, second["Location"], second.json(),
    )  # fmt: skip
    assert Job.objects.count() == 1


def test_the_order_of_members_and_what_is_left_out_make_no_other_request(ann):
    first = ann.post("/api/v1/jobs", GOOD, **KEY)
    again = {"payload": GOOD["payload"], "priority": "normal", "task": GOOD["task"]}
    assert ann.post("/api/v1/jobs", again, **KEY).json() == first.json()


@pytest.mark.parametrize(
    "other",
    [
        {"payload": {"text": "y"}},
        {"priority": "high"},
        {"delay_seconds": 60},
        {"correlation_id": "c"},
        {"metadata": {"a": 1}},
        {"task": "probe.sleep", "payload": {}},
    ],
)
def test_another_request_with_the_key_is_refused(ann, other):
    assert ann.post("/api/v1/jobs", GOOD, **KEY).status_code == 202
    told = problem(ann.post("/api/v1/jobs", GOOD | other, **KEY), 422, "invalid")
    assert told["errors"][0]["field"] == "idempotency_key"
    assert Job.objects.count() == 1


def test_a_number_that_the_database_writes_in_other_digits_is_the_same_request(ann):
    body = {**GOOD, "metadata": {"n": 1.5e300, "m": -0.0, "i": 10**30}}
    assert ann.post("/api/v1/jobs", body, **KEY).json()["id"] == ann.post("/api/v1/jobs", body, **KEY).json()["id"]


def test_two_owners_may_choose_the_same_key(ann, caller):
    ids = {by.post("/api/v1/jobs", GOOD, **KEY).json()["id"] for by in (ann, caller("bob"))}
    assert len(ids) == 2


def test_a_key_of_our_own_processes_is_no_callers(ann):
    ours = enqueue("probe.echo", {"text": "x"}, idempotency_key="k")
    theirs = ann.post("/api/v1/jobs", GOOD, **KEY).json()["id"]
    assert theirs != str(ours.pk)
    assert enqueue("probe.echo", {"text": "x"}, idempotency_key="k").pk == ours.pk


def test_a_batch_and_its_jobs_keep_their_keys_to_their_owner(ann, caller):
    body = {"jobs": [{**GOOD, "idempotency_key": "one"}, GOOD]}
    first, again = (ann.post("/api/v1/jobs/batch", body, **KEY).json() for _ in range(2))
    theirs = caller("bob").post("/api/v1/jobs/batch", body, **KEY).json()
    assert (first["batch"]["id"], first["accepted"]) == (again["batch"]["id"], again["accepted"])
    assert {job["id"] for job in first["accepted"]}.isdisjoint(job["id"] for job in theirs["accepted"])
    assert (Batch.objects.count(), Job.objects.count()) == (2, 4)


def test_a_job_of_a_batch_has_its_key_for_the_whole_of_what_it_asks(ann):
    ann.post("/api/v1/jobs/batch", {"jobs": [{**GOOD, "idempotency_key": "one"}]})
    answer = ann.post("/api/v1/jobs/batch", {"jobs": [{**GOOD, "idempotency_key": "one", "priority": "high"}, GOOD]})
    assert [refusal["index"] for refusal in answer.json()["rejected"]] == [0]
    single = ann.post("/api/v1/jobs", GOOD, Idempotency_Key="one")
    assert single.json()["id"] == str(Job.objects.get(idempotency_key="one").pk)


@pytest.mark.parametrize("key", ["a\r\nX-Evil: 1", "a\0b", "a\x7fb", "\x1b[31m"])
def test_a_key_with_control_characters_is_refused(ann, key):
    told = problem(ann.post("/api/v1/jobs", GOOD, Idempotency_Key=key), 422, "invalid")
    assert told["errors"][0]["field"] == "Idempotency-Key"


def test_keys_from_before_become_their_tokens(ann):
    migration = import_module("tasks.migrations.0008_keys_of_owners")
    for task, key, by in (
        ("probe.echo", "k", "token:ann"),
        ("probe.sleep", "k", "token:ann"),
        ("probe.echo", "j", "token:ann"),
        ("probe.echo", "i", "ada"),
    ):
        enqueue(task, {}, idempotency_key=key, requested_by=by)
    migration.give(apps, None)
    given = Job.objects.values_list("task", "idempotency_key", "idempotency_owner").order_by("id")
    assert list(given) == [
        ("probe.echo", "k", ""),
        ("probe.sleep", "k", "token:ann"),
        ("probe.echo", "j", "token:ann"),
        ("probe.echo", "i", ""),
    ]
    migration.take_back(apps, None)
    assert set(Job.objects.values_list("idempotency_owner", flat=True)) == {""}


def at_once(count: int, call) -> list:
    """What each of ``count`` threads got, which begin together."""
    answers: list = []
    start = threading.Barrier(count)

    def run() -> None:
        start.wait()
        try:
            answers.append(call())
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@on_postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("address", ["/api/v1/jobs", "/api/v1/jobs/batch"])
def test_fifty_at_once_make_one_job(ann, address):
    body = {"jobs": [GOOD]} if "batch" in address else GOOD
    answers = at_once(50, lambda: ann.post(address, body, **KEY))
    assert {answer.status_code for answer in answers} <= {202, 409}
    accepted = {answer["Location"] for answer in answers if answer.status_code == 202}
    assert len(accepted) == Job.objects.count() == 1
    assert ann.post(address, body, **KEY)["Location"] in accepted


@on_postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("address", ["/api/v1/jobs", "/api/v1/jobs/batch"])
def test_while_the_first_still_runs_nobody_waits_for_it(ann, address):
    body = {"jobs": [GOOD]} if "batch" in address else GOOD
    stored, told = threading.Event(), threading.Event()

    def slowly() -> None:
        with transaction.atomic():
            ann.post(address, body, **KEY)
            stored.set()
            told.wait(20)
        connection.close()

    first = threading.Thread(target=slowly)
    first.start()
    try:
        assert stored.wait(20)
        answer = ann.post(address, body, **KEY)
    finally:
        told.set()
        first.join()
    problem(answer, 409, "still-running")
    assert answer["Retry-After"] == "1"
    assert ann.post(address, body, **KEY).status_code == 202
    assert Job.objects.count() == 1


@on_postgresql
def test_a_job_without_a_key_takes_one_statement_and_no_turn(ann, monkeypatch):
    asked = []
    execute = statements.execute
    monkeypatch.setattr(statements, "execute", lambda *given: asked.append(given) or execute(*given))
    ann.post("/api/v1/jobs", GOOD)
    assert [len(json.loads(parameters[0])) for _, parameters in asked] == [1]
    assert {"turn", "idempotency_owner", "idempotency_digest"}.isdisjoint(json.loads(asked[0][1][0])[0])


def test_a_request_that_was_right_and_would_be_wrong_by_now_is_answered_all_the_same(ann, monkeypatch):
    body = {**GOOD, "expires_at": (timezone.now() + timedelta(seconds=60)).isoformat()}
    first = ann.post("/api/v1/jobs", body, **KEY).json()
    batch = ann.post("/api/v1/jobs/batch", {"jobs": [body, GOOD]}, Idempotency_Key="many").json()
    later = timezone.now() + timedelta(hours=1)
    monkeypatch.setattr("tasks.dispatch.timezone.now", lambda: later)
    again = ann.post("/api/v1/jobs", body, **KEY)
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    again = ann.post("/api/v1/jobs/batch", {"jobs": [body, GOOD]}, Idempotency_Key="many").json()
    assert (again["batch"]["id"], again["accepted"]) == (batch["batch"]["id"], batch["accepted"])
    problem(ann.post("/api/v1/jobs", body), 422, "invalid")
    problem(ann.post("/api/v1/jobs", {**body, "priority": "high"}, **KEY), 422, "invalid")
