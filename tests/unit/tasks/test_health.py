from types import SimpleNamespace

import pytest
from django.db import OperationalError

from tasks import queues
from tasks.errors import BrokerUnavailable
from tasks.monitoring import health
from tasks.topology import TOPOLOGY

pytestmark = pytest.mark.django_db


@pytest.fixture
def depths(monkeypatch):
    """Sets what the broker says: a dict of depths, or an exception."""

    def say(answer):
        def ask(names=TOPOLOGY.queue_names):
            if isinstance(answer, Exception):
                raise answer
            return {name: answer.get(name, 0) for name in names}

        monkeypatch.setattr(health, "queue_depths", ask)

    return say


def test_a_living_process_says_so_without_asking_anybody(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert client.get("/health/live").json() == {"status": "OK"}


def test_a_ready_process_has_its_database_and_broker(client, depths):
    depths({})
    response = client.get("/health/ready")
    assert (response.status_code, set(response.json()["checks"].values())) == (200, {"ok"})


def test_without_the_broker_work_is_still_accepted(client, depths):
    depths(BrokerUnavailable("refused"))
    response = client.get("/health/ready")
    assert response.status_code == 200
    assert "jobs are accepted" in response.json()["checks"]["broker"]


def test_without_the_database_nothing_is_ready(client, depths, monkeypatch):
    def away(*_):
        raise OperationalError("connection refused")

    depths({})
    monkeypatch.setattr(health, "MigrationExecutor", away)
    response = client.get("/health/ready")
    assert (response.status_code, response.json()["status"]) == (503, "Error")
    assert response.json()["checks"]["database"] == "unreachable"


def test_short_queues_are_well(client, depths):
    depths({"email-queue": 400, "work-queue": 600})
    response = client.get("/health/queue")
    assert (response.status_code, response.json()["status"], response.json()["messageCount"]) == (200, "OK", 1000)


def test_a_backlog_is_a_warning(client, depths):
    depths({"email-queue": 400, "work-queue": 601})
    response = client.get("/health/queue")
    body = response.json()
    assert (response.status_code, body["status"], body["messageCount"]) == (503, "Warning", 1001)
    assert "work-queue" in body["message"]


def test_a_missing_queue_is_a_warning(client, depths):
    depths({"email-queue": None})
    body = client.get("/health/queue").json()
    assert body["status"] == "Warning"
    assert "topology apply" in body["message"]


def test_unknown_is_not_zero(client, depths):
    depths(BrokerUnavailable("the broker can not be asked"))
    response = client.get("/health/queue")
    body = response.json()
    assert (response.status_code, body["status"], body["messageCount"]) == (503, "Error", None)


@pytest.mark.parametrize("path", ["live", "ready", "queue"])
def test_health_is_never_cached_and_only_read(client, depths, path):
    depths({})
    assert "no-store" in client.get(f"/health/{path}")["Cache-Control"]
    assert client.post(f"/health/{path}").status_code == 405


def test_what_waits_in_a_paused_queue_is_meant_to(client, depths):
    depths({"email-queue": 4000, "work-queue": 600})
    queues.pause("email-queue", requested_by="ada")
    response = client.get("/health/queue")
    body = response.json()
    assert (response.status_code, body["status"], body["paused"]) == (200, "OK", ["email-queue"])
    assert (body["messageCount"], body["queues"]["email-queue"]) == (4600, 4000)
    assert "email-queue is paused, with 4000 messages" in body["message"]
    depths({"email-queue": 4000, "work-queue": 1001})
    body = client.get("/health/queue").json()
    assert (body["status"], body["message"]) == ("Warning", "1001 messages wait, more than 1000; most in work-queue")


def test_with_the_database_away_the_queues_are_told_all_the_same(client, depths, monkeypatch):
    def away():
        raise OperationalError("connection refused")

    depths({"email-queue": 3})
    monkeypatch.setattr(queues, "paused_names", away)
    monkeypatch.setattr(health, "connection", SimpleNamespace(close=lambda: None))
    assert client.get("/health/queue").json()["messageCount"] == 3
