"""Events are for Flower, and nothing else may wait for them."""

import pytest
from celery.events import EventDispatcher

from project.celery import app
from tasks.worker import events
from tasks.worker.events import REMINDER, Dispatcher


class Producer:
    """Whose connection is gone."""

    def __init__(self):
        self.asked_to_retry: list[bool] = []

    def publish(self, event, *, retry, **_):
        self.asked_to_retry.append(retry)
        raise ConnectionResetError("gone")


@pytest.fixture
def dispatcher() -> Dispatcher:
    made = app.events.Dispatcher(app.connection_for_write(), hostname="w@test")
    made.producer = Producer()
    return made


def test_the_app_uses_it(dispatcher):
    assert isinstance(dispatcher, Dispatcher)


def test_an_event_that_can_not_be_sent_is_kept_and_tried_once(dispatcher):
    dispatcher.send("task-succeeded", uuid="1", retry=True)
    assert dispatcher.producer.asked_to_retry == [False]
    assert len(dispatcher._outbound_buffer) == 1


def test_a_heartbeat_that_can_not_be_sent_says_that_the_connection_is_gone(dispatcher):
    with pytest.raises(ConnectionResetError):
        dispatcher.send("worker-heartbeat", retry=True)
    assert len(dispatcher._outbound_buffer) == 0


# Events of tasks, told together


class Wire:
    """Takes what is published."""

    def __init__(self):
        self.published = []

    def publish(self, body, *, routing_key, **_):
        self.published.append((routing_key, body))


def told_together(kind: type[EventDispatcher], **options) -> EventDispatcher:
    """As a worker with an event loop has it."""
    made = kind(
        app.connection_for_write(),
        hostname="w@test",
        app=app,
        buffer_group=["task"],
        on_send_buffered=lambda: made.reminders.append(len(made._group_buffer["task"])),
        **options,
    )
    made.producer, made.reminders = Wire(), []
    return made


def test_an_event_of_a_task_has_the_fields_that_celery_would_give_it():
    sent = []
    for kind in (EventDispatcher, Dispatcher):
        dispatcher = told_together(kind)
        clock = dispatcher.clock.value
        dispatcher.send("task-received", uuid="1", name="probe.echo", retries=0)
        dispatcher.flush()
        ((routing_key, (event,)),) = dispatcher.producer.published
        assert (routing_key, event.pop("clock")) == ("task.multi", clock + 1)
        sent.append(event)
    celerys, ours = sent
    assert abs(ours.pop("timestamp") - celerys.pop("timestamp")) < 60
    assert ours == celerys


def test_events_of_tasks_go_together_in_their_order():
    dispatcher = told_together(Dispatcher)
    for number in range(5):
        dispatcher.send("task-succeeded", uuid=str(number))
    assert dispatcher.producer.published == []
    dispatcher.flush()
    ((routing_key, told),) = dispatcher.producer.published
    assert (routing_key, [event["uuid"] for event in told]) == ("task.multi", list("01234"))


def test_too_many_do_not_wait_for_anybody(monkeypatch):
    monkeypatch.setattr(events, "MOST_TOGETHER", 10)
    dispatcher = told_together(Dispatcher)
    for number in range(25):
        dispatcher.send("task-succeeded", uuid=str(number))
    assert [len(told) for _, told in dispatcher.producer.published] == [10, 10]


def test_whoever_sends_them_is_reminded_again_and_again():
    """An event loop that fails forgets what it was asked."""
    dispatcher = told_together(Dispatcher)
    for number in range(2 * REMINDER + 1):
        dispatcher.send("task-succeeded", uuid=str(number))
    assert dispatcher.reminders == [1, REMINDER + 1, 2 * REMINDER + 1]


@pytest.mark.parametrize(("options", "told"), [({"groups": ["worker"]}, 0), ({"groups": ["task"]}, 1)])
def test_events_that_nobody_asked_for_are_not_told(options, told):
    dispatcher = told_together(Dispatcher, **options)
    dispatcher.send("task-succeeded", uuid="1")
    assert len(dispatcher._group_buffer["task"]) == told


def test_a_dispatcher_that_is_switched_off_tells_nothing():
    dispatcher = told_together(Dispatcher, enabled=False)
    dispatcher.send("task-succeeded", uuid="1")
    dispatcher.send("worker-online")
    dispatcher.flush()
    assert dispatcher.producer.published == []


def test_other_events_do_not_wait_for_those_of_tasks():
    dispatcher = told_together(Dispatcher)
    dispatcher.send("task-succeeded", uuid="1")
    dispatcher.send("worker-online")
    assert [routing_key for routing_key, _ in dispatcher.producer.published] == ["worker.online"]
