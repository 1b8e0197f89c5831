import threading
import time
import uuid
from collections import deque

import pytest

from tasks import publisher as room
from tasks.brokers import Answers, JobMessage
from tasks.errors import BrokerUnavailable
from tasks.publisher import Pace, Publisher
from tests.waiting import wait_for


def message() -> JobMessage:
    return JobMessage(uuid.uuid4(), 1, "probe.echo", "work-queue")


class Broker:
    """Away for the first ``outages`` calls."""

    def __init__(self, outages: int = 0):
        self.outages = outages
        self.sent: list[JobMessage] = []
        self._answers = Answers(set(), set())

    def publish(self, messages):
        if self.outages:
            self.outages -= 1
            raise BrokerUnavailable("away")
        self.sent += messages
        return {message.id for message in messages}

    def send(self, messages):
        confirmed = self.publish(messages)
        refused = {message.id for message in messages} - confirmed
        self._answers = Answers(self._answers.confirmed | confirmed, self._answers.refused | refused)

    def answers(self, timeout_seconds):
        answers, self._answers = self._answers, Answers(set(), set())
        return answers

    def close(self):
        self._answers = Answers(set(), set())


class Silent(Broker):
    """Says nothing of a message before it is told to."""

    def __init__(self):
        super().__init__()
        self.told: deque[Answers | Exception] = deque()

    def answers(self, timeout_seconds):
        if not self.told:
            time.sleep(timeout_seconds)
            return Answers(set(), set())
        told = self.told.popleft()
        if isinstance(told, Exception):
            raise told
        return told

    def confirm(self, *messages):
        self.told.append(Answers({message.id for message in messages}, set()))

    def refuse(self, *messages):
        self.told.append(Answers(set(), {message.id for message in messages}))


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


def test_an_answer_that_is_late_keeps_nobody_else_waiting():
    broker = Silent()
    publisher = Publisher(lambda: broker)
    first, second = message(), message()
    publisher.publish([first])
    wait_for(lambda: broker.sent == [first], "the first to be sent")
    publisher.publish([second])
    wait_for(lambda: broker.sent == [first, second], "the second to be sent, with the first unanswered")
    assert not publisher.flush(0)
    broker.confirm(second)
    broker.confirm(first)
    assert publisher.flush(5)


def test_as_much_is_in_flight_as_may_be_sent_twice(monkeypatch):
    monkeypatch.setattr(room, "MOST_IN_FLIGHT", 10)
    broker = Silent()
    publisher = Publisher(lambda: broker)
    messages = [message() for _ in range(15)]
    publisher.publish(messages)
    wait_for(lambda: broker.sent == messages[:10], "the first ten")
    broker.confirm(*messages[:10])
    wait_for(lambda: broker.sent == messages, "the others")
    broker.confirm(*messages[10:])
    assert publisher.flush(5)


def test_of_a_connection_that_breaks_only_the_unanswered_are_sent_again():
    broker = Silent()
    publisher = Publisher(lambda: broker)
    messages = [message() for _ in range(4)]
    publisher.publish(messages)
    wait_for(lambda: broker.sent == messages, "all to be sent")
    broker.confirm(messages[0], messages[2])
    broker.told.append(BrokerUnavailable("gone"))
    wait_for(lambda: broker.sent[4:] == [messages[1], messages[3]], "the unanswered to be sent again")
    broker.confirm(messages[1], messages[3])
    assert publisher.flush(5)


def test_a_refusal_is_tried_again_when_all_else_is_answered_and_nothing_is_sent_meanwhile():
    broker = Silent()
    publisher = Publisher(lambda: broker)
    refused, slow, later = message(), message(), message()
    publisher.publish([refused, slow])
    wait_for(lambda: broker.sent == [refused, slow], "both to be sent")
    broker.refuse(refused)
    wait_for(lambda: not broker.told, "the refusal to be heard")
    publisher.publish([later])
    broker.confirm(slow)
    wait_for(lambda: broker.sent == [refused, slow, refused, later], "the refused before the later")
    broker.confirm(later)
    assert publisher.flush(5)


def test_a_few_writes_go_at_once_and_a_flood_is_paced():
    now = [100.0]
    pace = Pace(clock=lambda: now[0])
    for _ in range(room.WRITES_AT_ONCE):
        assert pace.delay_seconds() == 0
        pace.note_write()
    assert pace.delay_seconds() == pytest.approx(1 / room.WRITES_PER_SECOND)
    now[0] += 1.0001 / room.WRITES_PER_SECOND
    assert pace.delay_seconds() == 0
    pace.note_write()
    now[0] += 3600
    assert pace.delay_seconds() == 0
    for _ in range(room.WRITES_AT_ONCE):
        pace.note_write()
    assert pace.delay_seconds() > 0, "an idle hour saves up no more than that"
