"""Idle, with messages waiting: when does the watchdog bark?"""

import pytest

from tasks.worker.watchdog import Watchdog

STUCK = {"arrived": 5, "room": True, "backlog": 3}


@pytest.mark.parametrize(
    ("looks", "barks"),
    [
        ([STUCK] * 5, True),
        ([STUCK] * 4, False),  # the first look only learns how many have arrived
        ([STUCK, STUCK, {**STUCK, "backlog": 0}, STUCK, STUCK], False),
        ([STUCK, STUCK, {**STUCK, "room": False}, STUCK, STUCK], False),
        ([STUCK, STUCK, *[{**STUCK, "arrived": 6}] * 3], False),
        ([{**STUCK, "backlog": 0}] * 9, False),
        ([{**STUCK, "room": False}] * 9, False),
    ],
    ids=["stuck", "not yet", "queues were empty", "slots were taken", "a message came", "nothing waits", "busy"],
)
def test_it_barks_only_when_every_look_agrees(looks, barks):
    watchdog = Watchdog(limit_seconds=30)
    found = [watchdog.look(**look, now=10.0 * number) for number, look in enumerate(looks)]
    assert found == [False] * (len(looks) - 1) + [barks]


def test_a_look_that_could_not_be_taken_begins_the_count_anew():
    watchdog = Watchdog(limit_seconds=30)
    for number in range(4):
        watchdog.look(**STUCK, now=10.0 * number)
    watchdog.forget()
    assert not watchdog.look(**STUCK, now=40.0)
