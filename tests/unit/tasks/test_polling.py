"""One thread asks for all that is followed, and nothing ends it."""

import threading
import time
from collections.abc import Sequence

from django.db import OperationalError

from tasks.polling import Poller
from tests.waiting import wait_for


class Looks:
    """Remembers who was asked for, and fails as told: the next errors, one a look."""

    def __init__(self, *errors: Exception):
        self.seen: list[list[str]] = []
        self.threads: set[threading.Thread] = set()
        self._errors = list(errors)

    def __call__(self, followers: Sequence[str]) -> None:
        self.threads.add(threading.current_thread())
        self.seen.append(list(followers))
        if self._errors:
            raise self._errors.pop(0)


def test_all_that_follow_are_asked_for_at_once_by_one_thread():
    looks = Looks()
    poller = Poller(looks, pause_seconds=0.01, name="test")
    for follower in ("a", "b"):
        poller.add(follower)
    wait_for(lambda: ["a", "b"] in looks.seen, "a look")
    poller.remove("a")
    wait_for(lambda: looks.seen[-1] == ["b"], "a look without the one that left")
    assert (len(poller), len(looks.threads)) == (1, 1)
    poller.remove("b")


def test_it_sleeps_while_nobody_follows_and_wakes_for_the_next():
    looks = Looks()
    poller = Poller(looks, pause_seconds=0.001, name="test")
    poller.add("a")
    wait_for(lambda: looks.seen, "a look")
    poller.remove("a")
    poller.remove("a")
    assert [] not in looks.seen
    poller.add("b")
    wait_for(lambda: looks.seen[-1] == ["b"], "another look")
    assert len(looks.threads) == 1
    poller.remove("b")


def test_an_outage_is_told_and_outlived():
    looks = Looks(*[OperationalError("connection refused")] * 3)
    poller = Poller(looks, pause_seconds=0.01, name="test")
    poller.add("a")
    wait_for(lambda: poller.is_away, "the outage to be noticed")
    wait_for(lambda: not poller.is_away and len(looks.seen) > 3, "the end of the outage")
    poller.remove("a")


def test_a_bug_does_not_end_it(monkeypatch):
    monkeypatch.setattr("tasks.polling.LONGEST_OUTAGE_PAUSE_SECONDS", 0.01)
    looks = Looks(ZeroDivisionError("a bug"))
    poller = Poller(looks, pause_seconds=0.01, name="test")
    poller.add("a")
    wait_for(lambda: len(looks.seen) > 2, "a look after the bug")
    poller.remove("a")


def test_looks_that_take_long_are_taken_less_often():
    times: list[float] = []
    pauses: list[float] = []

    def look(followers: Sequence[str]) -> None:
        now = time.monotonic()
        if times:
            pauses.append(now - times[-1])
        time.sleep(0.02)
        times.append(time.monotonic())

    poller = Poller(look, pause_seconds=0.001, name="test")
    poller.add("a")
    wait_for(lambda: len(pauses) > 2, "three looks")
    poller.remove("a")
    assert min(pauses) > 0.15, "nine times as long as a look"
