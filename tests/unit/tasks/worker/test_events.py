"""Events are for Flower, and nothing else may wait for them."""

import pytest

from project.celery import app
from tasks.worker.events import Dispatcher


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
