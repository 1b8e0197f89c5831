"""Webhooks over real workers and a receiver that counts: nothing is lost, everything is signed."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tasks.api import enqueue, enqueue_many
from tasks.models import Job, WebhookDelivery, WebhookEndpoint
from tasks.webhooks import delivery, endpoints
from tests.acceptance.seeing import ended
from tests.receiver import Received, Receiver
from tests.waiting import wait_for

OWNER = "webhooks"
"""Of the jobs that are told: workers may still end those of other tests."""
ALLOWED = {"WEBHOOK_ALLOW_HTTP": "true", "WEBHOOK_ALLOW_PRIVATE": "true"}


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.TASKS_WEBHOOK_ALLOW_HTTP = settings.TASKS_WEBHOOK_ALLOW_PRIVATE = True
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def environment(settings: Any) -> dict[str, str]:
    """Of workers that sign with this process's key."""
    return {**ALLOWED, "SECRET_KEY": settings.SECRET_KEY}


@pytest.fixture
def listen(platform: Any, receiver: Receiver) -> Iterator[Callable[..., tuple[WebhookEndpoint, str]]]:
    """An endpoint at the receiver, told of this test's own jobs, and gone again after it."""
    added: list[WebhookEndpoint] = []

    def make(*events: str, **given: Any) -> tuple[WebhookEndpoint, str]:
        endpoint, secret = endpoints.add(url=receiver.url, events=events, requested_by=OWNER, **given)
        added.append(endpoint)
        return endpoint, secret

    yield make
    WebhookEndpoint.objects.filter(pk__in=[endpoint.pk for endpoint in added]).delete()


def delivered(endpoint: WebhookEndpoint) -> list[str]:
    return list(WebhookDelivery.objects.filter(endpoint=endpoint).values_list("job__state", flat=True))


def test_nothing_is_lost_though_half_of_the_answers_fail_and_a_worker_is_killed(
    start_worker: Callable, listen: Callable, receiver: Receiver, environment: dict[str, str]
):
    endpoint, old = listen("job.succeeded", "batch.finished")
    seen: Counter[str] = Counter()

    def every_second_fails(received: Received) -> Any:
        seen[received.headers["webhook-id"]] += 1
        fails = len(receiver.received) % 2 == 0
        return (503, {"retry-after": "0"}, b"not now") if fails else (200, {}, b"taken")

    receiver.answer = every_second_fails
    first = start_worker("-c", "2", **environment)
    start_worker("-c", "2", **environment)
    batch = enqueue_many("probe.echo", [{"text": str(number)} for number in range(200)], requested_by=OWNER)
    wait_for(lambda: len(receiver.received) >= 40, "the first of them")
    first.kill()
    wait_for(lambda: delivered(endpoint) == ["succeeded"] * 201, "every event to be taken", 120)

    arrived = [(received.headers["webhook-id"], received.message) for received in receiver.received]
    told = {message["data"]["id"] for _, message in arrived if message["type"] == "job.succeeded"}
    assert told == {str(id) for id in Job.objects.filter(batch=batch).values_list("pk", flat=True)}
    assert {message["data"]["id"] for _, message in arrived if message["type"] == "batch.finished"} == {str(batch.pk)}
    by_event = {(message["type"], message["data"]["id"]): set() for _, message in arrived}
    for id, message in arrived:
        by_event[message["type"], message["data"]["id"]].add(id)
    assert [ids for ids in by_event.values() if len(ids) != 1] == []  # each event under one id, however often it came
    assert len(seen) == 201
    assert max(seen.values()) > 1  # some were sent again indeed
    for received in receiver.received:
        Webhook(old).verify(received.body, received.headers)

    _, new = endpoints.rotate(endpoint.pk, requested_by=OWNER)
    before = len(receiver.received)
    ended(enqueue("probe.echo", {"text": "after the rotation"}, requested_by=OWNER))
    wait_for(lambda: len(receiver.received) > before, "a message that both secrets sign")
    for secret in (old, new):
        Webhook(secret).verify(receiver.received[-1].body, receiver.received[-1].headers)
    about_themselves = [message for _, message in arrived if message["data"].get("task") == delivery.TASK]
    assert about_themselves == []


def test_an_endpoint_that_is_gone_is_told_nothing_more(
    start_worker: Callable, listen: Callable, receiver: Receiver, environment: dict[str, str]
):
    start_worker("-c", "1", **environment)
    endpoint, _ = listen("job.dead")
    receiver.replies(410)
    dead = enqueue("probe.fail", {"how": "permanent", "failures": 9}, requested_by=OWNER)
    assert ended(dead) == ["dead"]
    wait_for(lambda: delivered(endpoint) == ["dead"], "the dead letter of the delivery")
    endpoint.refresh_from_db()
    assert endpoint.disabled_why == "it answered 410, gone"
    (received,) = receiver.received
    assert received.message["data"]["error"] == "PermanentError: asked to fail for good"
    ended(enqueue("probe.fail", {"how": "permanent", "failures": 9}, requested_by=OWNER))
    assert len(delivered(endpoint)) == 1


def test_a_worker_that_may_not_go_to_private_addresses_does_not(
    start_worker: Callable, listen: Callable, receiver: Receiver, settings: Any
):
    start_worker("-c", "1", SECRET_KEY=settings.SECRET_KEY, WEBHOOK_ALLOW_HTTP="true")
    endpoint, _ = listen("job.succeeded")
    ended(enqueue("probe.echo", {"text": "x"}, requested_by=OWNER))
    wait_for(lambda: delivered(endpoint) == ["retrying"], "the attempt")
    error = WebhookDelivery.objects.get(endpoint=endpoint).job.error
    assert "127.0.0.1 leads to 127.0.0.1, this host itself" in error
    assert receiver.received == []
