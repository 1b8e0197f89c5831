"""The queues over HTTP: how they stand, pause, resume."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from tasks import queues
from tasks.brokers import memory
from tasks.models import ApiToken, AuditEntry
from tasks.states import JobState
from tasks.topology import TOPOLOGY
from tests.unit.tasks.factories import make_job
from tests.unit.tasks.http.test_jobs import problem

pytestmark = pytest.mark.django_db

URL = "/api/v1/queues"


@pytest.fixture(autouse=True)
def empty_broker(settings, monkeypatch):
    settings.CELERY_BROKER_URL = "memory://"
    monkeypatch.setattr(memory, "published", [])


@pytest.fixture
def call(client):
    text = ApiToken.issue("ops", ["queues:read", "queues:write"])[1]

    def call(method, path="", body=None, token=text):
        data = "" if body is None else json.dumps(body)
        headers = {"Authorization": f"Bearer {token}"}
        return client.generic(method, URL + path, data, content_type="application/json", headers=headers)

    return call


def test_all_queues_are_told_in_the_order_of_the_topology(call):
    make_job(JobState.RETRYING, queue="email-queue")
    told = call("GET").json()["queues"]
    assert [queue["name"] for queue in told] == list(TOPOLOGY.queue_names)
    jobs = {"scheduled": 0, "queued": 0, "running": 0, "retrying": 1}
    assert told[0] == {
        "name": "email-queue", "paused": None, "messages": 0, "trouble": "", "jobs": jobs, "workers": 0,
    }  # fmt: skip


def test_a_queue_is_paused_told_and_resumed(call):
    until = (timezone.now() + timedelta(hours=1)).replace(microsecond=0)
    answer = call("POST", "/email-queue/pause", {"reason": "provider away", "until": until.isoformat()})
    assert answer.status_code == 200
    paused = answer.json()["paused"]
    assert (paused["by"], paused["reason"], paused["until"]) == (
        "token:ops", "provider away", until.isoformat().replace("+00:00", "Z"),
    )  # fmt: skip
    assert call("GET", "/email-queue").json()["paused"] == paused
    assert call("POST", "/email-queue/resume").json()["paused"] is None
    assert not queues.is_paused("email-queue")
    assert list(AuditEntry.objects.order_by("id").values_list("actor", "verb", "reason")) == [
        ("token:ops", "queues.pause", "provider away"), ("token:ops", "queues.resume", ""),
    ]  # fmt: skip


def test_the_body_may_be_left_out_and_both_acts_repeated(call):
    for act, is_paused in (("pause", True), ("pause", True), ("resume", False), ("resume", False)):
        answer = call("POST", f"/email-queue/{act}")
        assert (answer.status_code, answer.json()["paused"] is not None) == (200, is_paused)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/e-mail"), ("POST", "/e-mail/pause"), ("POST", "/email-queue.dead/resume")]
)
def test_a_queue_there_is_not_is_not_found(call, method, path):
    assert "there are email-queue" in problem(call(method, path), 404, "not-found")["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"until": "2020-01-01T00:00:00Z"}, "until"),
        ({"until": "2999-01-01T00:00:00"}, "until"),
        ({"until": "tomorrow"}, "until"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": None}, "reason"),
        ({"why": "typo"}, "why"),
    ],
)
def test_a_pause_that_makes_no_sense_names_the_field_and_pauses_nothing(call, body, field):
    told = problem(call("POST", "/email-queue/pause", body), 422, "invalid")
    assert [error["field"] for error in told["errors"]] == [field]
    assert not queues.is_paused("email-queue")


@pytest.mark.parametrize(
    ("scope", "allowed"), [("queues:read", {"get"}), ("queues:write", {"pause", "resume"}), ("jobs:write", set())]
)
def test_each_act_takes_its_scope(call, scope, allowed):
    text = ApiToken.issue("narrow", [scope])[1]
    answers = {
        "get": call("GET", "/email-queue", token=text),
        "pause": call("POST", "/email-queue/pause", token=text),
        "resume": call("POST", "/email-queue/resume", token=text),
    }
    assert {act for act, answer in answers.items() if answer.status_code == 200} == allowed
    assert {answer.status_code for act, answer in answers.items() if act not in allowed} <= {403}
