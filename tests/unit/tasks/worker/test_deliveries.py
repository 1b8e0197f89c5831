"""Settled are the messages of this connection, and many at once where they follow upon each other."""

from typing import Any

import pytest

from tasks.worker.deliveries import Deliveries


class Gone(Exception):
    """What a transport raises when its connection is gone."""


class Message:
    """Writes into ``log`` how it was settled."""

    def __init__(self, tag: Any, log: list[Any], error: Exception | None = None):
        self.delivery_tag, self.log, self.error = tag, log, error

    def _settled(self, how: str) -> None:
        self.log.append((how, self.delivery_tag))
        if self.error:
            raise self.error

    def ack(self, multiple: bool = False) -> None:
        self._settled("up to" if multiple else "ack")

    def reject(self, requeue: bool = False) -> None:
        self._settled("requeue" if requeue else "reject")


@pytest.fixture
def log() -> list[Any]:
    return []


def delivered(
    log: list[Any], tags: Any = range(1, 7), *, several_at_once: bool = True
) -> tuple[Deliveries, dict[Any, Message]]:
    deliveries = Deliveries((Gone,), several_at_once=several_at_once)
    messages = {tag: Message(tag, log) for tag in tags}
    for message in messages.values():
        deliveries.add(message)
    return deliveries, messages


@pytest.mark.parametrize(
    ("tags", "settled"),
    [
        ([], []),
        ([1], [("ack", 1)]),
        ([1, 2, 3], [("up to", 3)]),
        ([3, 1, 2], [("up to", 3)]),
        ([1, 2, 4, 6], [("up to", 2), ("ack", 4), ("ack", 6)]),
        ([1, 3, 4], [("ack", 1), ("ack", 3), ("ack", 4)]),
        ([2, 3], [("ack", 2), ("ack", 3)]),  # the first is still to be run
        ([1, 2, 3, 4, 5, 6], [("up to", 6)]),
    ],
)
def test_a_run_from_the_first_open_one_is_acknowledged_at_once(log, tags, settled):
    deliveries, messages = delivered(log)
    deliveries.acknowledge(messages[tag] for tag in tags)
    assert log == settled
    assert {tag for tag, message in messages.items() if message in deliveries} == set(messages) - set(tags)


def test_never_is_a_message_acknowledged_that_was_not_asked_for(log):
    """What a broker would make of it, whatever the order: several at once means all before it."""
    deliveries, messages = delivered(log, range(1, 30))
    asked: set[int] = set()
    for step in (3, 7, 2, 5, 1):
        group = {tag for tag in messages if tag % step == 0}
        deliveries.acknowledge(messages[tag] for tag in group)
        asked |= group
        told = {tag for how, upto in log for tag in messages if tag == upto or (how == "up to" and tag <= upto)}
        assert told == asked


def test_a_gap_that_closes_lets_the_rest_go_at_once(log):
    deliveries, messages = delivered(log)
    deliveries.acknowledge([messages[2]])
    deliveries.reject(messages[3])
    log.clear()
    deliveries.acknowledge([messages[1], messages[4], messages[5]])
    assert log == [("up to", 5)]


def test_where_the_protocol_has_no_such_thing_each_is_acknowledged(log):
    deliveries, messages = delivered(log, ["b", "a"], several_at_once=False)
    deliveries.acknowledge(messages.values())
    assert log == [("ack", "b"), ("ack", "a")]


def test_a_message_is_settled_once(log):
    deliveries, messages = delivered(log)
    for _ in range(2):
        deliveries.reject(messages[1])
        deliveries.acknowledge([messages[2], messages[2]])
        deliveries.reject(messages[2], requeue=True)
    assert log == [("reject", 1), ("ack", 2)]


def test_a_message_can_go_back_into_its_queue(log):
    deliveries, messages = delivered(log)
    deliveries.reject(messages[2], requeue=True)
    assert log == [("requeue", 2)]


def test_a_message_of_an_earlier_connection_is_let_go_though_its_number_came_again(log):
    _, of_before = delivered(log)
    deliveries, messages = delivered(log)
    deliveries.acknowledge([of_before[1], of_before[2]])
    deliveries.reject(of_before[3])
    assert log == []
    assert all(message in deliveries for message in messages.values())


@pytest.mark.parametrize("error", [Gone("closed"), BrokenPipeError(), TimeoutError()])
def test_what_a_dying_connection_does_not_take_comes_again_and_keeps_no_other_from_its_turn(log, error):
    deliveries, messages = delivered(log)
    messages[2].error = messages[3].error = error
    deliveries.acknowledge([messages[2], messages[4]])
    deliveries.reject(messages[3])
    assert log == [("ack", 2), ("ack", 4), ("reject", 3)]
    assert messages[2] not in deliveries


def test_a_fault_of_ours_is_not_taken_for_a_dying_connection(log):
    deliveries, messages = delivered(log)
    messages[2].error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        deliveries.acknowledge([messages[2]])
