"""Publish-subscribe on a real RabbitMQ: every subscriber hears of every event it has bound, each job's in order."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from django.db import connection, transaction
from kombu import Connection, Exchange, Queue

from tasks import brokers
from tasks.errors import BrokerUnavailable
from tasks.job_events import feed
from tasks.job_events.sinks import ExchangeSink
from tasks.models import JobEvent
from tests.unit.tasks.factories import make_job
from tests.waiting import closed_port, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

Subscribe = Callable[[str], list[dict]]
KINDS = ("queued", "running", "succeeded")


@pytest.fixture
def subscribe(broker, broker_url) -> Iterator[Subscribe]:
    """``subscribe(binding)`` is a growing list of what came to a queue of its own."""
    with ExitStack() as stack:
        client = stack.enter_context(Connection(broker_url))
        exchange = Exchange("job-events", "topic")
        pump = {"on": True}

        def make(binding: str) -> list[dict]:
            heard: list[dict] = []

            def hear(body: bytes, message) -> None:
                heard.append(json.loads(message.body))
                message.ack()

            queue = Queue(f"heard-{binding}", exchange, binding, queue_arguments={"x-queue-type": "quorum"})
            stack.enter_context(client.Consumer(queue, callbacks=[hear], channel=client.channel(), accept=["json"]))
            return heard

        def run() -> None:
            while pump["on"]:
                with suppress(TimeoutError):
                    client.drain_events(timeout=0.2)

        thread = threading.Thread(target=run)

        def subscribe(*bindings: str) -> list[list[dict]]:
            lists = [make(binding) for binding in bindings]
            thread.start()
            return lists

        yield subscribe
        pump["on"] = False
        thread.join()


def test_every_subscriber_hears_what_it_has_bound_and_each_jobs_events_in_order(broker, subscribe):
    everything, dead = subscribe("job.#", "job.dead.probe.echo")
    sink = ExchangeSink()
    feed.advance(sink)
    jobs = [make_job() for _ in range(40)]
    for kind in (*KINDS, "dead"):
        JobEvent.objects.bulk_create(JobEvent(job=job, kind=kind, attempt=1) for job in jobs)
    while feed.advance(sink):
        pass
    wait_for(lambda: len(everything) == 160 and len(dead) == 40, "all events")
    assert {event["state"] for event in dead} == {"dead"}
    for job in jobs:
        assert [event["state"] for event in everything if event["job_id"] == str(job.pk)] == [*KINDS, "dead"]


def test_with_the_broker_away_no_event_is_lost(broker, subscribe, settings, broker_url):
    (everything,) = subscribe("job.#")
    sink = ExchangeSink()
    feed.advance(sink)
    settings.CELERY_BROKER_URL = f"amqp://127.0.0.1:{closed_port()}//"
    away = ExchangeSink()
    (event,) = [JobEvent.objects.create(job=make_job(), kind="queued", attempt=0)]
    with pytest.raises(BrokerUnavailable):
        feed.advance(away)
    settings.CELERY_BROKER_URL = broker_url
    assert feed.advance(sink) == 1
    wait_for(lambda: len(everything) == 1, "the event")
    assert everything[0]["id"] == str(event.pk)


def test_nobody_who_has_bound_a_queue_is_no_failure(broker):
    sink = ExchangeSink()
    feed.advance(sink)
    JobEvent.objects.create(job=make_job(), kind="queued", attempt=0)
    assert feed.advance(sink) == 1


def test_an_exchange_that_was_deleted_is_declared_again(broker, broker_url):
    with Connection(broker_url) as client:
        client.default_channel.exchange_delete("job-events")
    message = brokers.TopicMessage("1", "job.queued.x", b"{}")
    with pytest.raises(BrokerUnavailable):
        broker.publish_to_topic("job-events", [message])
    broker.publish_to_topic("job-events", [message])


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer")
def test_what_commits_late_is_told_all_the_same(broker, subscribe):
    (everything,) = subscribe("job.#")
    sink = ExchangeSink()
    feed.advance(sink)
    job = make_job()
    inserted, may_commit = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with transaction.atomic():
            JobEvent.objects.create(job=job, kind="queued", attempt=0)
            inserted.set()
            may_commit.wait(30)
        connection.close()

    writer = threading.Thread(target=write_slowly)
    writer.start()
    inserted.wait(30)
    other = JobEvent.objects.create(job=make_job(), kind="queued", attempt=0)
    assert [feed.advance(sink) for _ in range(3)] == [1, 0, 0]
    may_commit.set()
    writer.join()
    assert feed.advance(sink) == 1
    wait_for(lambda: len(everything) == 2, "both events")
    assert everything[0]["id"] == str(other.pk)
    assert everything[1]["job_id"] == str(job.pk)
