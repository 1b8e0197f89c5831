"""The doctor's questions to a real RabbitMQ, and the command as a script runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import amqp
import pytest
from kombu import Connection

from tasks import brokers
from tasks.brokers.rabbitmq import management, policies
from tasks.doctor.examination import answers
from tests.waiting import closed_port, wait_for

ROOT = Path(__file__).resolve().parents[2]


def on_channel(url, act):
    with Connection(url) as connection:
        return act(connection.default_channel)


def said(*names):
    """(check, status, what) of the broker's checks called ``names``, asked anew."""
    broker = brokers.connect()
    try:
        wanted = [check for check in broker.checks() if check.name in {*names, "broker", "management"}]
        return [(result.check, result.status.value, result.what) for result in answers(wanted) if result.check in names]
    finally:
        broker.close()


def replace_queue(url, name, **arguments):
    def act(channel: amqp.Channel):
        channel.queue_delete(name)
        channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)

    on_channel(url, act)


def test_a_topology_in_place_has_no_finding_but_missing_workers(broker, db):
    """``cluster`` and the like are the node's own business."""
    found = {result.check for result in answers(broker.checks()) if result.status.value != "ok"}
    assert found == {"consumers"}


def test_a_classic_queue_is_found(broker, broker_url):
    replace_queue(broker_url, "work-queue")
    ((_, status, what),) = said("queue-type")
    assert (status, what.partition(":")[0]) == ("finding", "queue work-queue is a classic queue")


def test_the_type_of_a_queue_that_differs_is_unknown_without_the_api(broker, broker_url, settings):
    settings.TASKS_RABBITMQ_API_URL = ""
    replace_queue(broker_url, "work-queue")
    assert [status for _, status, _ in said("queue-type", "queue-arguments")] == ["unknown", "finding"]


def test_other_arguments_are_found(broker, broker_url):
    replace_queue(broker_url, "work-queue", **{"x-queue-type": "quorum", "x-delivery-limit": 3})
    ((_, status, what),) = said("queue-arguments")
    assert status == "finding"
    assert "queue work-queue differs" in what
    assert said("queue-type")[0][1] == "ok"


def test_what_is_missing_is_found_and_not_made(broker, broker_url):
    on_channel(broker_url, lambda channel: channel.queue_delete("sms-queue"))
    on_channel(broker_url, lambda channel: channel.exchange_delete("job-events"))
    for _ in range(2):
        assert said("topology") == [
            ("topology", "finding", "exchange job-events is missing"),
            ("topology", "finding", "queue sms-queue is missing"),
        ]


def test_queues_without_consumer_are_found(broker, broker_url):
    with Connection(broker_url) as connection:
        for queue in ("email-queue", "sms-queue", "push-queue", "report-queue", "image-queue", "work-queue"):
            connection.default_channel.basic_consume(queue)
        ((_, status, what),) = said("consumers")
        assert (status, what) == ("finding", "nobody consumes priority-queue, request-queue")
        for queue in ("priority-queue", "request-queue"):
            connection.default_channel.basic_consume(queue)
        assert said("consumers")[0][1] == "ok"


def test_dead_messages_that_nobody_collects_are_found(broker, broker_url):
    assert said("dead-queues")[0][1] == "ok"

    def publish(channel: amqp.Channel):
        channel.basic_publish(amqp.Message(b"x", delivery_mode=2), "dead-letter-exchange", "email-queue")

    on_channel(broker_url, publish)
    wait_for(lambda: broker.depth("email-queue.dead") == 1, "the dead message")
    ((_, status, what),) = said("dead-queues")
    assert status == "finding"
    assert what.startswith("1 messages in email-queue.dead are not collected")


def test_a_missing_binding_is_found(broker, broker_url):
    assert said("bindings")[0][1] == "ok"
    on_channel(broker_url, lambda channel: channel.queue_unbind("email-queue", "email-exchange", "email"))
    ((_, status, what),) = said("bindings")
    assert (status, what) == ("finding", "binding email-exchange -> email-queue by 'email' is missing")


def test_misaddressed_messages_without_a_queue_are_found(broker, broker_url):
    on_channel(broker_url, lambda channel: channel.queue_unbind("unrouted-queue", "unrouted-exchange", ""))
    ((_, status, what),) = said("bindings")
    assert (status, what) == ("finding", "binding unrouted-exchange -> unrouted-queue is missing")


def put_policy(name, **policy):
    management.configured().put(f"policies/{management.vhost()}/{name}", policy)


def test_a_missing_policy_is_found(broker, broker_url, settings):
    assert said("policies")[0][1] == "ok"
    put_policy(policies.POLICY, pattern="^none$", definition={"alternate-exchange": "x"})
    assert {status for _, status, _ in said("policies")} == {"finding"}


def test_a_policy_that_hides_ours_or_throws_jobs_away_is_found(broker):
    put_policy("mine", pattern=".*", definition={"alternate-exchange": "x"}, priority=9, **{"apply-to": "exchanges"})
    put_policy("short", pattern="^email-queue$", definition={"message-ttl": 1000}, **{"apply-to": "queues"})

    def found():
        return " | ".join(what for _, _, what in said("policies"))

    wait_for(lambda: "sets message-ttl on email-queue" in found(), "the policy in the queue's description")
    assert f"the policy mine hides {policies.POLICY} on email-exchange" in found()


def test_without_the_api_its_checks_are_unknown_and_amqp_is_asked(broker, settings, db):
    settings.TASKS_RABBITMQ_API_URL = ""
    statuses = {result.check: result.status.value for result in answers(broker.checks())}
    assert statuses["topology"] == "ok"
    assert {statuses[name] for name in ("management", "alarms", "policies", "guest", "replicas")} == {"unknown"}


def test_an_api_that_refuses_us_is_found(broker, settings):
    settings.TASKS_RABBITMQ_API_URL = with_password(settings.TASKS_RABBITMQ_API_URL, "wrong-hunter2")
    (result,) = [result for result in answers(broker.checks()) if result.check == "management"]
    assert result.status.value == "finding"
    assert "hunter2" not in result.what


def with_password(url, password):
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}:{quote(password)}@{parts.hostname}:{parts.port}"))


def doctor(*options, **environment):
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", *options],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return done


def test_the_command_tells_findings_to_scripts_and_hides_passwords(broker, broker_url, tmp_path):
    done = doctor(
        "--json", BROKER_URL=broker_url, SECRET_KEY="hunter2-hunter2", DATABASE_URL=f"sqlite:///{tmp_path}/db"
    )
    results = json.loads(done.stdout)
    assert done.returncode == 1
    assert all(set(result) == {"check", "status", "what", "remedy", "link"} for result in results)
    found = {result["check"] for result in results if result["status"] == "finding"}
    assert {"secret-key", "migrations", "consumers"} <= found
    assert all(result["remedy"] for result in results if result["status"] == "finding")
    password = urlsplit(broker_url).password
    assert "hunter2" not in done.stdout
    assert password not in done.stdout + done.stderr


def test_nothing_that_is_away_ends_in_a_traceback():
    port = closed_port()
    done = doctor(
        "--json",
        BROKER_URL=f"amqp://me:hunter2@127.0.0.1:{port}//",
        RABBITMQ_API_URL=f"http://me:hunter2@127.0.0.1:{port}/api/",
        DATABASE_URL=f"postgres://me:hunter2@127.0.0.1:{port}/db",
        REDIS_URL=f"redis://me:hunter2@127.0.0.1:{port}/0",
    )
    status = {result["check"]: result["status"] for result in json.loads(done.stdout)}
    assert done.returncode == 1
    assert {status[name] for name in ("broker", "management", "database", "redis")} == {"finding"}
    assert {status[name] for name in ("migrations", "clock", "workers", "topology", "alarms")} == {"unknown"}
    assert "hunter2" not in done.stdout + done.stderr


def test_a_url_that_can_not_be_read_is_named_and_not_quoted():
    urls = {
        "BROKER_URL": "amqp://me:hunter2#x@127.0.0.1//",
        "RABBITMQ_API_URL": "http://me:hunter2#x@127.0.0.1/api/",
        "REDIS_URL": "redis://:hunter2#x@127.0.0.1/0",
    }
    done = doctor("--json", **urls)
    assert done.returncode == 1
    assert all(f"{name}: can not be read" in done.stderr for name in urls)
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_table_fits_the_terminal(broker_url, columns):
    done = doctor(BROKER_URL=broker_url, COLUMNS=columns)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert "\x1b" not in done.stdout, "colour is for terminals"
    assert any(line.startswith("finding  topology") for line in lines)
    assert lines[-1].endswith("findings")
