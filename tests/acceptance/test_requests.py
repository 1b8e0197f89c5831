"""Request-reply on a running worker: replies arrive where they were asked for, under their correlation ids."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import amqp
import httpx
import pytest
from kombu import Connection

from tasks.api import CallTimedOut, call, enqueue, late_reply
from tasks.models import ApiToken, Job, Request
from tests.acceptance.seeing import ended
from tests.javascript.running import node
from tests.waiting import wait_for


class Caller:
    """A client in another language: one connection, one queue for its answers, or none."""

    def __init__(self, url: str, queue: str = "amq.rabbitmq.reply-to"):
        self.connection = Connection(url).connect()
        self.channel = self.connection.channel()
        self.queue = queue
        self.replies: list[tuple[str, Any]] = []
        if queue != "amq.rabbitmq.reply-to":
            self.channel.queue_declare(queue, durable=True, auto_delete=False)
        self.channel.basic_consume(queue, no_ack=True, callback=self._hear)

    def _hear(self, message: amqp.Message) -> None:
        reply = json.loads(message.body)
        self.replies.append((message.properties["correlation_id"], reply))

    def ask(self, correlation_id: str, type: str = "probe.echo", exchange: str = "request", **data: Any) -> None:
        message = amqp.Message(
            json.dumps({"type": type, "data": data}),
            correlation_id=correlation_id,
            reply_to=self.queue,
            message_id=f"m-{correlation_id}",
            delivery_mode=2,
        )
        self.channel.basic_publish(message, f"{exchange}-exchange", exchange)

    def wait(self, count: int, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while len(self.replies) < count and time.monotonic() < deadline:
            try:
                self.connection.drain_events(timeout=0.5)
            except TimeoutError:
                continue
        assert len(self.replies) >= count, f"{len(self.replies)} of {count} replies"

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def caller(platform) -> Iterator[Caller]:
    caller = Caller(platform["BROKER_URL"])
    yield caller
    caller.close()


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("queue", ["amq.rabbitmq.reply-to", "answers-of-a-test"])
def test_a_reply_arrives_with_its_correlation_id(platform, queue):
    caller = Caller(platform["BROKER_URL"], queue)
    caller.ask(mark := uuid.uuid4().hex, text="x")
    caller.wait(1)
    ((correlation_id, reply),) = caller.replies
    caller.close()
    assert (correlation_id, reply["state"], reply["result"]) == (mark, "succeeded", {"text": "x"})
    assert reply["jobId"] == str(Job.objects.get(correlation_id=mark).pk)


@pytest.mark.usefixtures("worker")
def test_what_dies_is_answered_too(caller):
    caller.ask("c-dies", type="probe.fail", how="permanent", failures=9)
    caller.wait(1)
    assert caller.replies[0][1]["state"] == "dead"
    assert caller.replies[0][1]["error"]


@pytest.mark.usefixtures("worker")
def test_many_callers_get_their_own_replies(platform):
    callers = [Caller(platform["BROKER_URL"]) for _ in range(5)]
    for number in range(20):
        for index, caller in enumerate(callers):
            caller.ask(f"{index}-{number}", text=f"{index}-{number}")
        for caller in callers:
            caller.wait(number + 1)
    for index, caller in enumerate(callers):
        assert [reply["result"]["text"] for _, reply in caller.replies] == [id for id, _ in caller.replies]
        assert all(id.startswith(f"{index}-") for id, _ in caller.replies)
        caller.close()


def test_a_caller_that_has_gone_leaves_its_reply_to_nobody_else_and_may_come_back(platform, start_worker):
    gone = Caller(platform["BROKER_URL"])
    mark = uuid.uuid4().hex
    gone.ask(mark, text="late")
    gone.close()
    other = Caller(platform["BROKER_URL"])
    start_worker("-c", "2")
    wait_for(lambda: Request.objects.filter(correlation_id=mark).exclude(trouble="").exists(), "the reply to be kept")
    other.ask("other", text="x")
    other.wait(1)
    assert [id for id, _ in other.replies] == ["other"]
    kept = late_reply(mark, requested_by="amqp:request-queue")
    assert kept is not None
    assert kept.result == {"text": "late"}
    other.ask(mark, text="late")
    other.wait(2)
    assert [id for id, _ in other.replies] == ["other", mark]
    assert Job.objects.filter(correlation_id=mark).count() == 1
    other.close()


def test_a_worker_killed_before_it_replied_leaves_that_to_another(platform, start_worker, caller):
    first = start_worker("-c", "1")
    caller.ask("c-killed", type="probe.sleep", seconds=1)
    wait_for(lambda: Job.objects.filter(correlation_id="c-killed", state="running").exists(), "the job to begin")
    first.kill()
    start_worker("-c", "1")
    caller.wait(1, seconds=60)
    assert [(id, reply["state"]) for id, reply in caller.replies] == [("c-killed", "succeeded")]


@pytest.mark.usefixtures("worker")
def test_a_python_call_returns_the_result_or_says_that_it_is_late():
    assert call("probe.echo", {"text": "x"}, timeout_seconds=20) == {"text": "x"}
    with pytest.raises(CallTimedOut) as caught:
        call("probe.sleep", {"seconds": 2}, timeout_seconds=0.3, requested_by="ada")
    job = Job.objects.get(pk=caught.value.job_id)
    assert ended(job) == ["succeeded"]
    late = late_reply(caught.value.correlation_id, requested_by="ada")
    assert late is not None
    assert late.pk == job.pk


@pytest.mark.usefixtures("worker")
def test_a_caller_over_http_may_wait_or_fetch_it_later(start_server):
    api = f"{start_server('web').url}/api/v1"
    token, text = ApiToken.issue("waiter", ["jobs:read", "jobs:write", "requests:read"])
    client = httpx.Client(headers={"Authorization": f"Bearer {text}"}, timeout=30)
    body = {"task": "probe.echo", "payload": {"text": "x"}, "correlation_id": "c-http"}
    at_once = client.post(f"{api}/jobs", json=body, headers={"Prefer": "wait=10"})
    assert (at_once.status_code, at_once.json()["result"]) == (200, {"text": "x"})
    slow = {"task": "probe.sleep", "payload": {"seconds": 3}, "correlation_id": "c-slow"}
    assert client.post(f"{api}/jobs", json=slow, headers={"Prefer": "wait=1"}).status_code == 202
    assert client.get(f"{api}/replies/c-slow").status_code == 202
    wait_for(lambda: client.get(f"{api}/replies/c-slow").status_code == 200, "the late reply")
    desk = client.get(f"{api}/requests").json()
    assert desk["timed_out"] >= 1
    assert "probe.echo" in {row["task"] for row in desk["latencies"]}
    token.delete()


@pytest.mark.usefixtures("worker")
def test_amqplib_gets_its_replies_by_direct_reply_to(platform):
    mark = uuid.uuid4().hex
    asked = [
        {"type": "probe.echo", "id": f"{mark}-{n}", "correlationId": f"{mark}-{n}", "data": {"text": f"{n}"}}
        for n in range(5)
    ]
    replies = node("request.js", asked, BROKER_URL=platform["BROKER_URL"])
    found = {reply["correlationId"]: reply["body"]["result"]["text"] for reply in replies}
    assert found == {f"{mark}-{n}": f"{n}" for n in range(5)}


@pytest.mark.usefixtures("worker")
def test_a_job_enqueued_in_python_may_have_its_reply_sent(caller):
    caller.channel.queue_declare("python-answers", durable=True, auto_delete=False)
    enqueue("probe.echo", {"text": "x"}, reply_to="python-answers", correlation_id="c-py")
    caller.channel.basic_consume("python-answers", no_ack=True, callback=caller._hear)
    caller.wait(1)
    assert caller.replies[0][0] == "c-py"
