import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

import amqp
import pytest
from kombu import Connection

from tasks import brokers
from tasks.brokers import DeadMessage, JobMessage, QueueMissing, TopologyMismatch
from tasks.brokers.rabbitmq import connection
from tasks.errors import BrokerUnavailable
from tasks.topology import TOPOLOGY
from tests.integration.silence import silenceable
from tests.waiting import closed_port, wait_for


def message(queue: str = "work-queue") -> JobMessage:
    return JobMessage(uuid.uuid4(), 1, "probe.echo", queue)


def raw(url: str, act: Callable[[amqp.Channel], object]) -> object:
    """``act`` on a plain channel, as a stranger would."""
    with Connection(url) as connection:
        return act(connection.default_channel)


def collect(broker, count: int) -> list[DeadMessage]:
    found: list[DeadMessage] = []
    broker.consume_dead(found.append, keep_going=lambda: len(found) < count)
    return found


def test_what_is_published_is_confirmed_and_waits_in_its_queue(broker):
    messages = [message(queue) for queue in TOPOLOGY.queue_names for _ in range(3)]
    assert broker.publish(messages) == {sent.id for sent in messages}
    wait_for(lambda: all(broker.depth(queue) == 3 for queue in TOPOLOGY.queue_names), "three messages in each queue")


def test_a_message_is_ids_only_and_survives_a_restart(broker, broker_url):
    sent = message()
    broker.publish([sent])
    got = raw(broker_url, lambda channel: channel.basic_get("work-queue"))
    assert got.body == "[[], {}, {}]"
    assert got.properties["delivery_mode"] == 2
    assert got.headers["id"] == got.properties["message_id"] == f"{sent.job_id}.1"


def test_a_message_that_finds_no_queue_is_not_confirmed(broker, broker_url, settings):
    settings.TASKS_RABBITMQ_API_URL = ""
    raw(broker_url, lambda channel: channel.queue_delete("sms-queue"))
    lost, kept = message("sms-queue"), message("work-queue")
    remove_policy(broker_url, settings)
    assert broker.publish([lost, kept]) == {kept.id}


def remove_policy(broker_url, settings):
    """Without the alternate exchange a misaddressed message is returned to its sender."""
    raw(broker_url, lambda channel: channel.queue_unbind("unrouted-queue", "unrouted-exchange"))


def test_a_channel_that_refused_is_left_for_another(broker, broker_url):
    raw(broker_url, lambda channel: channel.queue_delete("work-queue"))
    full = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"}
    raw(
        broker_url, lambda channel: channel.queue_declare("work-queue", durable=True, auto_delete=False, arguments=full)
    )
    raw(broker_url, lambda channel: channel.queue_bind("work-queue", "work-exchange", "work"))
    wait_for(lambda: not broker.publish([message()]), "a refusal")
    refused_on = broker._confirms
    raw(broker_url, lambda channel: channel.queue_purge("work-queue"))
    wait_for(lambda: broker.publish([message()]), "a confirm")
    assert broker._confirms is not refused_on


def test_a_missing_exchange_is_declared_for_the_next_try(broker, broker_url):
    raw(broker_url, lambda channel: channel.exchange_delete("work-exchange"))
    with pytest.raises(BrokerUnavailable):
        broker.publish([message()])
    again = message()
    assert broker.publish([again]) == {again.id}


def test_a_missing_queue_is_not_an_empty_one(broker, broker_url):
    raw(broker_url, lambda channel: channel.queue_delete("work-queue"))
    with pytest.raises(QueueMissing):
        broker.depth("work-queue")
    assert broker.depth("email-queue") == 0, "the connection is still good"


def test_a_broker_that_is_not_there_is_told(settings):
    settings.CELERY_BROKER_URL = f"amqp://127.0.0.1:{closed_port()}//"
    broker = brokers.connect()
    for ask in (lambda: broker.publish([message()]), lambda: broker.depth("work-queue"), broker.apply_topology):
        with pytest.raises(BrokerUnavailable, match="can not be asked"):
            ask()


def test_a_lost_connection_is_opened_again(broker):
    broker._connection.connection.transport.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(BrokerUnavailable):
        broker.publish([message()])
    sent = message()
    assert broker.publish([sent]) == {sent.id}


def test_the_next_node_is_asked_when_the_first_is_dead_or_frozen(broker, broker_url, settings):
    with socket.create_server(("127.0.0.1", 0)) as frozen:  # the kernel accepts, and nobody ever answers
        frozen_port = frozen.getsockname()[1]
        settings.CELERY_BROKER_URL = f"amqp://127.0.0.1:{closed_port()}//;amqp://127.0.0.1:{frozen_port}//;{broker_url}"
        clustered = brokers.connect()
        began = time.monotonic()
        assert clustered.depth("work-queue") == 0
        assert time.monotonic() - began < 5
        clustered.close()


def test_a_node_that_froze_is_left_by_the_collector(broker, broker_url, settings, monkeypatch):
    monkeypatch.setitem(connection.SOCKET_TIMEOUTS, "read_timeout", 1)
    with silenceable(broker_url) as (url, silence):
        settings.CELERY_BROKER_URL = f"{url};{broker_url}"
        clustered = brokers.connect()
        clustered.depth("work-queue")
        silence()
        with pytest.raises(BrokerUnavailable):
            clustered.consume_dead(lambda dead: None, keep_going=lambda: True)
        began = time.monotonic()
        assert clustered.depth("work-queue") == 0
        assert time.monotonic() - began < connection.CONNECT_TIMEOUT_SECONDS, "the frozen one was not asked again"
        clustered.close()


def test_the_management_api_of_the_next_node_is_asked(broker, settings):
    api = settings.TASKS_RABBITMQ_API_URL
    settings.TASKS_RABBITMQ_API_URL = f"http://127.0.0.1:{closed_port()}/api/;{api}"
    assert broker.apply_topology() == []
    assert broker.check_topology() == []


def test_a_rejected_message_reaches_its_dead_queue_with_the_reason(broker, broker_url):
    broker.publish([message("email-queue")])
    wait_for(lambda: broker.depth("email-queue") == 1, "the message")

    def reject(channel: amqp.Channel) -> None:
        got = channel.basic_get("email-queue")
        channel.basic_reject(got.delivery_tag, requeue=False)

    raw(broker_url, reject)
    (dead,) = collect(broker, 1)
    assert (dead.queue, dead.dead_queue, dead.exchange, dead.routing_key) == (
        "email-queue", "email-queue.dead", "email-exchange", "email",
    )  # fmt: skip
    assert dead.deaths[0]["reason"] == "rejected"
    assert "x-death" not in dead.headers


def test_a_message_handed_out_too_often_is_dead(broker, broker_url):
    broker.publish([message()])

    def requeue_until_dead(channel: amqp.Channel) -> int:
        deliveries = 0
        while not broker.depth("work-queue.dead"):
            if got := channel.basic_get("work-queue"):
                channel.basic_reject(got.delivery_tag, requeue=True)
                deliveries += 1
            assert deliveries <= TOPOLOGY.delivery_limit + 1
        return deliveries

    assert raw(broker_url, requeue_until_dead) >= TOPOLOGY.delivery_limit
    (dead,) = collect(broker, 1)
    assert dead.deaths[0]["reason"] == "delivery_limit"


def test_a_misaddressed_message_is_kept(broker, broker_url):
    plain = amqp.Message(b"\xff garbage", content_type="text/plain")
    raw(broker_url, lambda channel: channel.basic_publish(plain, "email-exchange", "no-such-key"))
    (dead,) = collect(broker, 1)
    assert (dead.queue, dead.dead_queue, dead.body) == ("", "unrouted-queue", b"\xff garbage")
    assert (dead.exchange, dead.routing_key) == ("email-exchange", "no-such-key")


def test_a_dead_message_can_be_sent_again_as_it_was(broker, broker_url):
    headers = {"x-mine": 1, "n": None}
    plain = amqp.Message(b"\xff\x00", content_type="image/x", application_headers=headers, priority=3, message_id="m")
    raw(broker_url, lambda channel: channel.basic_publish(plain, "email-exchange", "email"))
    wait_for(lambda: broker.depth("email-queue") == 1, "the message")
    raw(broker_url, lambda channel: channel.basic_reject(channel.basic_get("email-queue").delivery_tag, requeue=False))
    (dead,) = collect(broker, 1)
    assert broker.publish_again(dead)
    wait_for(lambda: broker.depth("email-queue") == 1, "the message to be back")
    got = raw(broker_url, lambda channel: channel.basic_get("email-queue"))
    assert (got.body, got.properties["content_type"], got.properties["priority"]) == (b"\xff\x00", "image/x", 3)
    assert (got.headers["x-mine"], got.headers["n"], "x-death" in got.headers) == (1, None, False)


def test_nothing_is_confirmed_for_a_dead_message_that_has_no_way(broker, broker_url):
    raw(broker_url, lambda channel: channel.queue_unbind("unrouted-queue", "unrouted-exchange"))
    nowhere = DeadMessage("", "", b"x", "email-exchange", "no-such-key")
    assert not broker.publish_again(nowhere)
    assert broker.publish_again(replace(nowhere, routing_key="email"))


def test_a_dead_message_is_not_acknowledged_before_it_is_kept(broker, broker_url):
    plain = amqp.Message(b"x")
    raw(broker_url, lambda channel: channel.basic_publish(plain, "email-exchange", "no-such-key"))

    def fail(dead: DeadMessage) -> None:
        raise RuntimeError("the database is away")

    with pytest.raises(RuntimeError):
        broker.consume_dead(fail, keep_going=lambda: True)
    broker.close()
    assert [dead.body for dead in collect(broker, 1)] == [b"x"]


def test_applying_twice_changes_nothing_and_the_check_is_content(broker):
    assert broker.apply_topology() == []
    assert broker.check_topology() == []


def test_the_check_names_what_is_missing(broker, broker_url):
    raw(broker_url, lambda channel: channel.queue_delete("sms-queue"))
    raw(broker_url, lambda channel: channel.exchange_delete("job-events"))
    raw(broker_url, lambda channel: channel.queue_unbind("email-queue", "notification-exchange"))
    lines = broker.check_topology()
    assert "queue sms-queue is missing" in lines
    assert "exchange job-events is missing" in lines
    assert "binding notification-exchange -> email-queue is missing" in lines
    with pytest.raises(QueueMissing):
        broker.depth("sms-queue")


def test_a_queue_with_other_arguments_is_told_and_left_alone(broker_url):
    raw(broker_url, lambda channel: channel.queue_declare("sms-queue", durable=True, auto_delete=False))
    broker = brokers.connect()
    with pytest.raises(TopologyMismatch, match="sms-queue"):
        broker.apply_topology()
    assert any("queue sms-queue differs" in line for line in broker.check_topology())
    assert broker.depth("email-queue") == 0, "everything else was declared"
    broker.close()


def test_a_routing_key_that_is_not_utf8_is_kept_like_any_other(broker, broker_url):
    def publish(channel: amqp.Channel) -> None:
        odd = amqp.Message(b"x", content_type="text/plain")
        channel.send_method(amqp.spec.Basic.Publish, "Bssbb", (0, "email-exchange", OddKey("odd"), False, False), odd)
        channel.queue_declare("work-queue", passive=True)

    raw(broker_url, publish)
    (dead,) = collect(broker, 1)
    assert dead.routing_key == "\\xff\\xfe"


class OddKey(str):
    """Text that travels as bytes which are no UTF-8."""

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"
