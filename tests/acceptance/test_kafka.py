"""Records of a Kafka cluster become jobs, whatever is killed meanwhile; wrong ones are dead letters in both places."""

import json
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from django.core.management import call_command

from tasks.job_events import feed
from tasks.job_events.kafka_topic import KafkaSink
from tasks.models import DeadLetter, Job, JobEvent
from tests.acceptance.conftest import ROOT
from tests.acceptance.seeing import ended
from tests.kafka_cluster import kafka_cluster, new_name
from tests.unit.tasks.factories import make_job
from tests.waiting import wait_for


class Cluster:
    """A topic and a group of the test's own."""

    def __init__(self, servers: str):
        self.servers, self.topic, self.group = servers, new_name("emails"), new_name("group")
        self.producer = Producer({"bootstrap.servers": servers, "linger.ms": 5})

    @property
    def environment(self) -> dict[str, str]:
        values = {"KAFKA_BOOTSTRAP_SERVERS": self.servers, "KAFKA_GROUP": self.group, "KAFKA_TOPICS": self.topic}
        # A member that was killed is given up by then, and not after the default's 45 s.
        return {**values, "KAFKA_OPTIONS": "session.timeout.ms=6000,heartbeat.interval.ms=500"}

    def send(self, value: Any, **options: Any) -> None:
        raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        while True:
            try:
                return self.producer.produce(self.topic, raw, **options)
            except BufferError:
                self.producer.poll(0.1)

    def flush(self) -> None:
        assert self.producer.flush(60) == 0

    def read(self, topic: str, count: int) -> list[Any]:
        """The first ``count`` records of ``topic``."""
        options = {"bootstrap.servers": self.servers, "group.id": new_name("reader"), "auto.offset.reset": "earliest"}
        consumer, found = Consumer(options), []
        consumer.subscribe([topic])

        def all_there() -> bool:
            found.extend(record for record in consumer.consume(500, 0.5) if record.error() is None)
            return len(found) >= count

        wait_for(all_there, f"{count} records of {topic}", 60)
        consumer.close()
        return found


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with kafka_cluster() as servers:
        yield Cluster(servers)


@pytest.fixture
def start_bridge(platform, cluster, tmp_path) -> Iterator[Callable[[], subprocess.Popen]]:
    started: list[subprocess.Popen] = []

    def start() -> subprocess.Popen:
        log = tmp_path / f"bridge-{len(started)}.log"
        command = [sys.executable, "manage.py", "bridge", "kafka"]
        with Path(log).open("wb") as output:
            environment = {**platform, **cluster.environment}
            started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def echo(mark: str, number: int) -> dict[str, Any]:
    return {"type": "probe.echo", "id": f"{mark}-{number}", "data": {"text": mark}}


def test_ten_thousand_records_two_kills_and_a_second_member_make_ten_thousand_jobs(cluster, start_bridge):
    many, wrong, mark = 10_000, 20, uuid.uuid4().hex
    for number in range(many):
        cluster.send(echo(mark, number), key=f"customer-{number % 97}")
        if number % (many // wrong) == 0:
            cluster.send(b"poison", key=mark)
    cluster.flush()
    made = Job.objects.filter(idempotency_key__startswith=mark)
    for least in (1, 4000):
        bridge = start_bridge()
        wait_for(lambda least=least: made.count() >= least, f"{least} jobs", 60)
        bridge.send_signal(signal.SIGKILL)
        bridge.wait()
    start_bridge(), start_bridge()
    wait_for(lambda: made.count() == many, f"{many} jobs", 90)
    letters = DeadLetter.objects.filter(queue=cluster.topic)
    wait_for(lambda: letters.count() == wrong, f"{wrong} dead letters", 60)
    assert Counter(letters.values_list("reason", flat=True)) == {"undecodable": wrong}
    dead = {
        (dict(r.headers())["x-death-partition"], dict(r.headers())["x-death-offset"])
        for r in cluster.read(f"{cluster.topic}.dead", wrong)
    }
    assert len(dead) == wrong


WRONG: dict[str, tuple[Any, str]] = {
    "garbage": (b"\x00\xff", "undecodable"),
    "tombstone": (None, "undecodable"),
    "no type": ({"data": {}}, "unknown_message"),
    "unknown type": ({"type": "fax", "data": {}}, "unknown_task"),
    "wrong schema": ({"type": "email", "data": {"to": ["nobody"]}}, "invalid_payload"),
    "too large": ({"type": "probe.echo", "data": {"text": "x" * 600_000}}, "undecodable"),
    "far future": ({"type": "probe.echo", "data": {}, "timestamp": 99_999_999_999_999}, "unknown_message"),
    "an id of another": ({"type": "probe.echo", "id": "used", "data": {"text": "other"}}, "id_conflict"),
}


def test_what_is_wrong_is_a_dead_letter_and_the_rest_goes_on(cluster, start_bridge, start_worker):
    bridge = start_bridge()
    cluster.send({"type": "probe.echo", "id": "used", "data": {"text": "x"}}, key="k")
    for value, _ in WRONG.values():
        cluster.send(value, key="k")
    cluster.send({"type": "probe.echo", "id": "used", "data": {"text": "x"}, "retryCount": 1}, key="k")
    cluster.send({"type": "email", "data": {"to": ["ada@example.org"], "subject": "Hi", "text": "x"}}, key="k")
    cluster.flush()
    letters = DeadLetter.objects.filter(queue=cluster.topic)
    wait_for(lambda: letters.count() == len(WRONG), "the dead letters", 60)
    assert sorted(letters.values_list("reason", flat=True)) == sorted(reason for _, reason in WRONG.values())
    jobs = Job.objects.filter(requested_by=f"kafka:{cluster.topic}")
    wait_for(lambda: jobs.count() == 2, "the jobs of the right ones")
    start_worker("-c", "1")
    assert ended(*jobs) == ["succeeded", "succeeded"]
    bridge.terminate()
    assert bridge.wait(30) == 0, "it leaves the group and ends"


def test_the_status_says_how_many_records_wait(cluster, settings, capsys):
    settings.TASKS_KAFKA_BOOTSTRAP_SERVERS = cluster.servers
    settings.TASKS_KAFKA_GROUP, settings.TASKS_KAFKA_TOPICS = cluster.group, [cluster.topic]
    for number in range(7):
        cluster.send(echo("status", number))
    cluster.flush()
    call_command("bridge", "kafka", "--status", "--json")
    assert json.loads(capsys.readouterr().out)["total"] == 7


@pytest.mark.usefixtures("platform")
def test_job_events_arrive_on_a_topic_in_the_order_of_each_job(cluster, settings):
    settings.TASKS_KAFKA_BOOTSTRAP_SERVERS = cluster.servers
    sink = KafkaSink(new_name("job-events"))
    feed.advance(sink)
    jobs = [make_job() for _ in range(30)]
    for kind in ("queued", "running", "succeeded"):
        JobEvent.objects.bulk_create(JobEvent(job=job, kind=kind, attempt=1) for job in jobs)
    while feed.advance(sink):
        pass
    ours = {str(job.pk) for job in jobs}
    records = [r for r in cluster.read(sink.name.removeprefix("kafka:"), 90) if r.key().decode() in ours]
    told: dict[str, list[str]] = {}
    for record in records:
        event = json.loads(record.value())
        told.setdefault(event["job_id"], []).append(event["state"])
    assert told == {id: ["queued", "running", "succeeded"] for id in ours}


def test_a_cluster_that_is_away_is_told_and_keeps_the_events(settings, platform):
    from tasks.errors import BrokerUnavailable

    settings.TASKS_KAFKA_BOOTSTRAP_SERVERS = "127.0.0.1:1"
    settings.TASKS_KAFKA_OPTIONS = {"message.timeout.ms": "1000"}
    sink = KafkaSink("away")
    feed.advance(sink)
    JobEvent.objects.create(job=make_job(), kind="queued", attempt=0)
    with pytest.raises((BrokerUnavailable, KafkaException)):
        feed.advance(sink)
    assert feed.lag(sink.name)[0] == 1
