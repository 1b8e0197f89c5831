import threading
import uuid

import pytest

from tasks import publisher as room
from tasks.brokers import JobMessage
from tasks.errors import BrokerUnavailable
from tasks.publisher import Publisher


def message() -> JobMessage:
    return JobMessage(uuid.uuid4(), 1, "probe.echo", "work-queue")


class Broker:
    """Away for the first ``outages`` calls."""

    def __init__(self, outages: int = 0):
        self.outages = outages
        self.sent: list[JobMessage] = []

    def publish(self, messages):
        if self.outages:
            self.outages -= 1
            raise BrokerUnavailable("away")
        self.sent += messages
        return {message.id for message in messages}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(room, "LONGEST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(room, "REFUSED_PAUSE_SECONDS", 0.001)


def test_messages_leave_in_order():
    broker = Broker()
    publisher = Publisher(lambda: broker)
    messages = [message() for _ in range(1200)]
    publisher.publish(messages)
    assert publisher.flush(5)
    assert broker.sent == messages


def test_messages_wait_in_order_for_a_broker_that_is_away():
    broker = Broker(outages=3)
    publisher = Publisher(lambda: broker)
    messages = [message() for _ in range(3)]
    publisher.publish(messages)
    assert publisher.flush(5)
    assert broker.sent == messages


def test_whoever_publishes_does_not_wait():
    release = threading.Event()

    class Frozen(Broker):
        def publish(self, messages):
            release.wait(10)
            return super().publish(messages)

    publisher = Publisher(Frozen)
    publisher.publish([message()])
    assert not publisher.flush(0.01)
    release.set()
    assert publisher.flush(5)


def test_memory_is_bounded_while_the_broker_is_away(monkeypatch):
    monkeypatch.setattr(room, "MOST_WAITING", 10)
    release = threading.Event()

    class Frozen(Broker):
        def publish(self, messages):
            release.wait(10)
            return super().publish(messages)

    broker = Frozen()
    publisher = Publisher(lambda: broker)
    publisher.publish([message() for _ in range(100)])
    release.set()
    assert publisher.flush(5)
    assert len(broker.sent) == 10


def test_a_fault_of_the_publisher_does_not_end_it():
    class Faulty(Broker):
        def publish(self, messages):
            if not self.sent:
                self.sent.append(None)
                raise ZeroDivisionError
            return super().publish(messages)

    broker = Faulty()
    publisher = Publisher(lambda: broker)
    publisher.publish([message()])
    assert publisher.flush(5)
    last = message()
    publisher.publish([last])
    assert publisher.flush(5)
    assert broker.sent[-1] == last


@pytest.mark.parametrize(("refusals", "left_to_the_relay"), [(1, 0), (2, 1)])
def test_what_the_broker_refuses_is_tried_once_more(refusals, left_to_the_relay, caplog):
    class Electing(Broker):
        tries = 0

        def publish(self, messages):
            self.tries += 1
            return set() if self.tries <= refusals else super().publish(messages)

    broker = Electing()
    publisher = Publisher(lambda: broker)
    publisher.publish([message()])
    assert publisher.flush(5)
    assert len(broker.sent) == 1 - left_to_the_relay
    assert ("the relay will try again" in caplog.text) == bool(left_to_the_relay)


def test_what_has_waited_for_the_relays_grace_is_left_to_it(settings):
    settings.TASKS_RELAY_GRACE_SECONDS = 0
    broker = Broker(outages=1)
    publisher = Publisher(lambda: broker)
    publisher.publish([message()])
    assert publisher.flush(5)
    assert broker.sent == []
