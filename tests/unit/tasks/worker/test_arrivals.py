"""Messages that wait to be claimed: in which order they are taken, how many of them, and what becomes of the others."""

import uuid
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tasks.worker.arrivals import Arrivals, Arrived
from tasks.worker.envelope import Envelope

SHARES = {"short": 0.25, "long": 1.0}


def arrived(name: str) -> Arrived:
    """Its message is its name: capitals are of a task that takes up a turn."""
    return Arrived(Envelope(uuid.uuid4(), 1, "long" if name.isupper() else "short"), name)


def waiting(names: str) -> Arrivals:
    arrivals = Arrivals()
    for name in names:
        arrivals.add(arrived(name))
    return arrivals


def taken(arrivals: Arrivals, *, room: float = 99, free_slots: int = 99) -> str:
    share: Callable[[str], float] = SHARES.__getitem__
    return "".join(each.message for each in arrivals.take(room=room, free_slots=free_slots, share=share))


def test_what_came_first_is_taken_first():
    arrivals = waiting("abc")
    assert (len(arrivals), taken(arrivals), len(arrivals)) == (3, "abc", 0)
    assert not arrivals


def test_urgent_ones_go_before_all_that_waits():
    arrivals = waiting("ab")
    arrivals.add(arrived("u"), urgent=True)
    arrivals.add(arrived("c"))
    assert taken(arrivals) == "uabc"


@pytest.mark.parametrize(
    ("names", "room", "free_slots", "expected"),
    [
        ("abcdefgh", 1, 0, "abcd"),  # four to a turn
        ("abcdefgh", 1.1, 0, "abcde"),  # what there is room to begin with
        ("abcdefgh", 0, 2, ""),
        ("abcdefgh", -0.25, 2, ""),
        ("ABC", 3, 3, "ABC"),
        ("ABC", 3, 2, "AB"),  # room ahead is for short ones
        ("ABC", 3, 0, ""),
        ("ABC", 3, -4, ""),  # more wait for slots than there are
        ("aAbB", 4, 1, "aAb"),
        ("Abc", 4, 0, ""),  # nothing overtakes
        ("", 4, 4, ""),
    ],
)
def test_as_much_is_taken_as_there_is_room_for_and_what_takes_long_for_a_free_slot_only(
    names, room, free_slots, expected
):
    arrivals = waiting(names)
    assert taken(arrivals, room=room, free_slots=free_slots) == expected
    assert taken(arrivals) == names[len(expected) :], "the others wait on in their order"


def test_what_could_not_be_claimed_waits_where_it_waited():
    arrivals = waiting("abcdef")
    share = SHARES.__getitem__
    arrivals.put_back(arrivals.take(room=0.75, free_slots=0, share=share))
    assert taken(arrivals) == "abcdef"


@pytest.mark.parametrize(
    ("keep", "dropped", "left"), [(0, "abcd", ""), (1, "bcd", "a"), (3, "d", "abc"), (4, "", "abcd"), (9, "", "abcd")]
)
def test_the_last_to_come_go_back_in_their_order(keep, dropped, left):
    arrivals = waiting("abcd")
    assert "".join(arrivals.drop(keep=keep)) == dropped
    assert taken(arrivals) == left


def test_what_was_sent_to_some_exchanges_is_withdrawn_in_its_order_and_the_others_wait_on():
    arrivals = Arrivals()
    messages = [SimpleNamespace(name=name, delivery_info={"exchange": name}) for name in "abcab"]
    for message in messages:
        arrivals.add(Arrived(Envelope(uuid.uuid4(), 1, "short"), message))
    assert arrivals.withdraw({"a", "c"}) == [messages[0], messages[2], messages[3]]
    assert arrivals.drop() == [messages[1], messages[4]]


def test_unless_told_otherwise_all_of_it_goes():
    arrivals = waiting("abc")
    assert arrivals.drop() == ["a", "b", "c"]
    assert not arrivals
