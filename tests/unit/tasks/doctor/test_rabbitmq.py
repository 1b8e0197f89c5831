"""What the management API says of clusters, accounts and old versions, which one node of a test can not show."""

import httpx
import pytest

from tasks.brokers.rabbitmq import management
from tasks.brokers.rabbitmq.checks.nodes import NodeChecks
from tasks.brokers.rabbitmq.checks.over_amqp import AmqpChecks, Counted
from tasks.brokers.rabbitmq.checks.over_api import Api, ApiChecks
from tests.unit.tasks.doctor.said import findings, unknowns
from tests.unit.tasks.factories import make_worker

NODE = {"name": "a", "running": True, "partitions": [], "mem_alarm": False, "disk_free_alarm": False}
QUEUE = {
    "name": "work-queue", "type": "quorum", "arguments": {}, "leader": "a", "members": ["a"], "online": ["a"],
}  # fmt: skip


class SaidApi(Api):
    """Answers out of a dict of paths; vhosts are left out."""

    def __init__(self, **answers):
        self._answers = answers

    def get(self, path):
        return self._answers[path]

    def get_of_vhost(self, path):
        return self._answers[path]


def nodes(*changes):
    return NodeChecks(SaidApi(nodes=[{**NODE, **change} for change in changes]))


def queue(nodes=1, **change):
    return NodeChecks(SaidApi(nodes=[NODE] * nodes, queues=[{**QUEUE, **change}]))


def test_one_healthy_node_is_ok():
    checks = NodeChecks(SaidApi(nodes=[NODE], queues=[QUEUE])).all()
    assert [findings(check.ask()) for check in checks] == [[], [], [], []]


def test_alarms_are_found():
    said = findings(nodes({"mem_alarm": True}, {"name": "b", "disk_free_alarm": True}).alarms())
    assert said == ["a has a memory alarm: it takes no messages", "b has a disk alarm: it takes no messages"]


def test_a_node_that_is_down_or_cut_off_is_found():
    said = findings(nodes({"running": False}, {"name": "b", "partitions": ["c"]}).cluster())
    assert said == ["the node a does not run", "the node b is cut off from c"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"leader": "b", "members": ["a", "b"]}, "work-queue has no leader"),
        ({"leader": ""}, "work-queue has no leader"),
        ({"members": ["a", "b", "c"], "online": ["a", "b"]}, "work-queue has 1 of 3 members offline: c"),
    ],
)
def test_a_queue_without_leader_or_members_is_found(change, words):
    (what,) = findings(queue(**change).quorum())
    assert words in what


def test_a_queue_that_does_not_tell_its_members_is_unknown():
    silent = {key: value for key, value in QUEUE.items() if key != "online"}
    assert len(unknowns(NodeChecks(SaidApi(nodes=[NODE], queues=[silent])).quorum())) == 1


@pytest.mark.parametrize(
    ("node_count", "members", "survives"),
    [(1, 1, None), (3, 3, None), (5, 3, None), (3, 1, "the loss of no node"), (2, 2, "no node"), (4, 4, "as 3 would")],
)
def test_replicas_that_survive_less_than_they_cost_are_found(node_count, members, survives):
    said = findings(queue(node_count, members=list("abcde"[:members])).replicas())
    assert len(said) == (survives is not None)


@pytest.mark.parametrize(
    ("arguments", "policy", "found"),
    [
        ({}, None, 0),
        ({"x-consumer-timeout": 600_000}, {}, 0),
        ({"x-consumer-timeout": 60_000}, {}, 1),
        ({}, {"consumer-timeout": 60_000}, 1),
    ],
)
def test_a_queues_own_timeout_must_outlast_its_tasks(arguments, policy, found):
    described = {**QUEUE, "arguments": arguments, "effective_policy_definition": policy}
    assert len(findings(ApiChecks(SaidApi(queues=[described])).consumer_timeouts())) == found


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("queue", "prefetch", "acknowledges", "found"),
    [
        ("work-queue", 2, True, 0),
        ("work-queue", 2000, True, 0),  # as a worker of short tasks does
        ("work-queue", 2001, True, 1),
        ("work-queue", 0, True, 1),
        ("work-queue", 2, False, 1),
        ("somebody-elses", 0, False, 0),
    ],
)
def test_a_consumer_that_takes_too_much_is_found(queue, prefetch, acknowledges, found):
    make_worker(queues=["work-queue"], concurrency=2)
    consumer = {"queue": {"name": queue}, "prefetch_count": prefetch, "ack_required": acknowledges}
    assert len(findings(ApiChecks(SaidApi(consumers=[consumer])).prefetch())) == found


@pytest.mark.parametrize(("state", "found"), [("enabled", 0), ("disabled", 1)])
def test_a_feature_that_queues_need_must_be_enabled(state, found):
    flags = [{"name": "stream_queue", "state": state}, {"name": "khepri_db", "state": "disabled"}]
    assert len(findings(ApiChecks(SaidApi(**{"feature-flags": flags})).feature_flags())) == found


@pytest.mark.parametrize(("status", "found"), [(200, 1), (401, 0)])
def test_guest_is_found_by_trying(settings, monkeypatch, status, found):
    settings.TASKS_RABBITMQ_API_URL = "http://me:hunter2@broker:15672/api/"
    asked = []

    class Api:
        def __init__(self, url):
            asked.append(url)

        def get(self, path):
            request = httpx.Request("GET", "http://broker")
            httpx.Response(status, request=request, json={}).raise_for_status()

    monkeypatch.setattr("tasks.brokers.rabbitmq.checks.over_api.Management", Api)
    said = findings(ApiChecks(SaidApi()).guest())
    assert asked == ["http://guest:guest@broker:15672/api/"]
    assert said == ["RabbitMQ at broker:15672 lets in guest with the password guest"] * found


def test_without_the_api_what_can_not_be_asked_is_told(settings):
    settings.TASKS_RABBITMQ_API_URL = ""
    assert management.configured() is None
    (what,) = unknowns(ApiChecks(Api()).management())
    assert "RABBITMQ_API_URL is not set" in what


def test_a_dead_message_that_goes_within_the_pause_is_no_finding():
    checks = AmqpChecks(None, Api())
    checks._counts = {"work-queue.dead": Counted(ready=1, consumers=1)}
    checks._count = lambda names: {"work-queue.dead": Counted(ready=0, consumers=1)}
    assert findings(checks.dead_queues(sleep=lambda seconds: None)) == []
