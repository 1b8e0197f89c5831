"""Amazon SQS as the broker, on moto's server: the same promises, and workers that are killed meanwhile."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction

from tasks import aws, brokers, publisher
from tasks.api import InvalidJob, cancel, enqueue
from tasks.brokers.exports import cloudformation
from tasks.brokers.sqs.queues import attributes, dead_attributes
from tasks.dead_letters import replaying
from tasks.ingress import sqs as ingress
from tasks.job_events import feed
from tasks.job_events.sns_topic import SnsSink
from tasks.models import DeadLetter, Job, JobEvent
from tests.acceptance.conftest import Worker, use_fresh_publisher
from tests.acceptance.seeing import attempts, ended, lines
from tests.javascript.running import node
from tests.sqs_server import KEYS, sqs_server
from tests.unit.tasks.factories import make_job
from tests.waiting import wait_for

VISIBILITY_SECONDS = 4


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with sqs_server() as url:
        yield url


@pytest.fixture
def account(endpoint, platform, settings, monkeypatch) -> Iterator[dict[str, str]]:
    """The environment of processes that have queues of the test's own."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    prefix = f"t{uuid.uuid4().hex[:8]}-"
    settings.CELERY_BROKER_URL, settings.TASKS_SQS_ENDPOINT_URL = "sqs://", endpoint
    settings.TASKS_SQS_QUEUE_PREFIX = prefix
    settings.TASKS_SQS_VISIBILITY_SECONDS, settings.TASKS_SQS_WAIT_SECONDS = VISIBILITY_SECONDS, 1
    use_fresh_publisher()
    brokers.connect().apply_topology()
    yield {
        **platform,
        **KEYS,
        "BROKER_URL": "sqs://",
        "SQS_ENDPOINT_URL": endpoint,
        "SQS_QUEUE_PREFIX": prefix,
        "SQS_VISIBILITY_SECONDS": str(VISIBILITY_SECONDS),
        "SQS_WAIT_SECONDS": "1",
    }
    publisher.flush(5)
    use_fresh_publisher()


@pytest.fixture
def start(account, tmp_path) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def start(*options: str) -> Worker:
        workers.append(Worker(account, tmp_path / f"worker-{len(workers)}.log", *(options or ("-c", "2"))))
        workers[-1].wait_until_ready()
        return workers[-1]

    yield start
    for worker in workers:
        assert worker.stop() in (0, -9), worker.log.read_text()[-3000:]


def collected(**which: Any) -> DeadLetter:
    found = DeadLetter.objects.filter(**which, collected_at__isnull=False)
    wait_for(found.exists, f"a dead letter of {which}", 60)
    return found.get()


def test_jobs_succeed_retry_wait_and_are_cancelled(start, tmp_path):
    start()
    trace = tmp_path / "trace"
    jobs = {
        "plain": enqueue("probe.echo", {"text": "x", "trace": str(trace)}),
        "urgent": enqueue("probe.echo", priority="high"),
        "later": enqueue("probe.echo", delay_seconds=1),
        "flaky": enqueue("probe.fail", {"how": "raise", "failures": 1}),
    }
    assert set(ended(*jobs.values())) == {"succeeded"}
    assert (jobs["plain"].result, len(lines(trace))) == ({"text": "x"}, 1)
    assert attempts(jobs["flaky"]) == ["RETRY", "SUCCESS"]
    running = enqueue("probe.sleep", {"seconds": 60})
    wait_for(lambda: Job.objects.filter(pk=running.pk, state="running").exists(), "the job to begin")
    cancel(running.pk)
    assert ended(running) == ["cancelled"]


def test_what_dies_is_a_dead_letter_with_the_queues_evidence_and_can_be_replayed(start):
    start()
    job = enqueue("probe.fail", {"how": "raise", "failures": 4})
    assert ended(job) == ["dead"]
    letter = collected(job=job)
    assert (letter.reason, [death["reason"] for death in letter.properties["deaths"]]) == ("exhausted", ["rejected"])
    replaying.replay(letter.pk, requested_by="ada")
    assert ended(job) == ["succeeded"]


def test_a_job_longer_than_the_visibility_runs_once(start, tmp_path):
    start("-c", "1"), start("-c", "1")
    trace = tmp_path / "trace"
    job = enqueue("probe.sleep", {"seconds": 2.5 * VISIBILITY_SECONDS, "trace": str(trace)})
    assert ended(job) == ["succeeded"]
    assert (len([line for line in lines(trace) if line.startswith("begin")]), job.attempt) == (1, 1)
    assert not job.events.filter(kind="duplicate").exists(), "no second worker was ever handed its message"


def test_a_killed_worker_leaves_its_jobs_to_another(start, tmp_path):
    first = start("-c", "2")
    jobs = [enqueue("probe.sleep", {"seconds": 1}) for _ in range(6)]
    wait_for(lambda: Job.objects.filter(state="running").exists(), "a job to begin")
    first.kill()
    start("-c", "2")
    assert set(ended(*jobs, timeout_seconds=90)) == {"succeeded"}


def test_a_thousand_jobs_enqueued_together_end_once_each(start, tmp_path):
    start("-c", "2")
    trace = tmp_path / "trace"
    with transaction.atomic():
        jobs = [enqueue("probe.echo", {"trace": str(trace)}) for _ in range(1000)]
    assert set(ended(*jobs, timeout_seconds=150)) == {"succeeded"}
    assert len(lines(trace)) == 1000


def test_envelopes_from_javascript_become_jobs_and_wrong_ones_dead_letters(start, account, endpoint):
    start()
    client = aws.client("sqs")
    url = client.get_queue_url(QueueName=f"{account['SQS_QUEUE_PREFIX']}work-queue")["QueueUrl"]
    mark = uuid.uuid4().hex
    right = [{"type": "probe.echo", "id": f"{mark}-{n}", "data": {"text": "x"}} for n in range(12)]
    node(
        "sqs.js",
        [*right, right[0], {"type": "fax", "data": {}, "id": mark}],
        **KEYS,
        SQS_ENDPOINT_URL=endpoint,
        QUEUE_URL=url,
    )
    jobs = Job.objects.filter(idempotency_key__startswith=mark)
    wait_for(lambda: jobs.count() == 12, "the jobs")
    assert set(ended(*jobs)) == {"succeeded"}
    wait_for(DeadLetter.objects.filter(reason="unknown_task", error__contains="fax").exists, "the dead letter")


@pytest.mark.usefixtures("account")
def test_the_bridge_makes_jobs_of_a_queue_of_somebody_elses():
    client, mark = aws.client("sqs"), uuid.uuid4().hex
    url = client.create_queue(QueueName=f"theirs-{mark}", Attributes={"VisibilityTimeout": "2"})["QueueUrl"]
    attribute = {"IdempotencyKey": {"DataType": "String", "StringValue": f"{mark}-a"}}
    body = json.dumps({"type": "probe.echo", "data": {"text": "x"}})
    for _ in range(2):
        client.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attribute)
    client.send_message(QueueUrl=url, MessageBody="no JSON")
    client.send_message(QueueUrl=url, MessageBody=json.dumps({"type": "probe.echo", "data": {"text": "x" * 250_000}}))
    bridge = ingress.Bridge(client, f"theirs-{mark}")
    wait_for(lambda: bridge.turn() or bridge.accepted + bridge.dead == 4, "the messages")
    assert (bridge.accepted, bridge.dead) == (3, 1)
    assert Job.objects.filter(idempotency_key=f"{mark}-a").count() == 1
    left = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (left["ApproximateNumberOfMessages"], left["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")


def test_the_topology_is_as_declared_and_drift_is_told(account, capsys):
    call_command("topology", "check")
    client = aws.client("sqs")
    url = client.get_queue_url(QueueName=f"{account['SQS_QUEUE_PREFIX']}email-queue")["QueueUrl"]
    client.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})
    (line,) = brokers.connect().check_topology()
    assert "email-queue differs: VisibilityTimeout is 77" in line
    with pytest.raises(brokers.TopologyMismatch):
        brokers.connect().apply_topology()


def test_the_template_makes_exactly_the_queues_that_apply_makes(account, settings):
    settings.TASKS_SQS_QUEUE_PREFIX = prefix = f"cf{uuid.uuid4().hex[:6]}-"
    stack = aws.client("cloudformation")
    stack.create_stack(StackName=prefix.strip("-"), TemplateBody=json.dumps(cloudformation()))
    wait_for(
        lambda: stack.describe_stacks(StackName=prefix.strip("-"))["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE",
        "it",
    )
    assert brokers.connect().check_topology() == []


def test_what_is_declared_is_what_was_asked_for(settings):
    settings.TASKS_SQS_VISIBILITY_SECONDS, settings.TASKS_SQS_WAIT_SECONDS = 300, 20
    assert attributes("arn") == {
        "VisibilityTimeout": "300",
        "MessageRetentionPeriod": "1209600",
        "ReceiveMessageWaitTimeSeconds": "20",
        "RedrivePolicy": '{"deadLetterTargetArn": "arn", "maxReceiveCount": 3}',
    }
    assert dead_attributes()["MessageRetentionPeriod"] == "1209600"


def test_a_job_message_is_ids_a_priority_and_a_time(account):
    job = enqueue("probe.echo", {"text": "secret"}, priority="high")
    publisher.flush(5)
    client = aws.client("sqs")
    url = client.get_queue_url(QueueName=f"{account['SQS_QUEUE_PREFIX']}priority-queue")["QueueUrl"]
    (message,) = client.receive_message(QueueUrl=url, MessageAttributeNames=["All"], WaitTimeSeconds=1)["Messages"]
    said = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert (said["id"], said["task"], said["Priority"]) == (f"{job.pk}.1", "probe.echo", "high")
    assert said["Timestamp"].isdigit()
    assert "secret" not in json.dumps([message["Body"], said])


@pytest.mark.usefixtures("account")
def test_what_sqs_can_not_do_is_refused():
    with pytest.raises(InvalidJob, match="reply_to"):
        enqueue("probe.echo", reply_to="answers")


@pytest.mark.usefixtures("account")
def test_job_events_reach_sns_and_who_subscribes_there():
    sns, client, name = aws.client("sns"), aws.client("sqs"), f"events-{uuid.uuid4().hex[:8]}"
    url = client.create_queue(QueueName=name)["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    sink = SnsSink(topic)
    feed.advance(sink)
    job = make_job()
    kinds = ["queued", "running", "succeeded"] * 5
    JobEvent.objects.bulk_create(JobEvent(job=job, kind=kind, attempt=1) for kind in kinds)
    assert feed.advance(sink) == 15
    heard: list[dict[str, Any]] = []

    def all_heard() -> bool:
        found = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
        heard.extend(json.loads(message["Body"]) for message in found)
        return len(heard) == 15

    wait_for(all_heard, "the events")
    assert sorted(event["state"] for event in heard) == sorted(kinds)
