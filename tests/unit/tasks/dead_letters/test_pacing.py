import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tasks.dead_letters.pacing import Pacing, verdict

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
DEFAULT = Pacing()


def sent_until_it_stops(pacing: Pacing, letters: int, fails: Callable[[], bool], dice: random.Random) -> int:
    """How many go when outcomes come in any order and number, a tenth of a second a turn."""
    sent, done, failed, since, now = 0, 0, 0, NOW, NOW
    for _ in range(100_000):
        now += timedelta(seconds=0.1)
        without_outcome = sent - done - failed
        for _ in range(dice.randint(0, without_outcome)):
            done, failed = (done, failed + 1) if fails() else (done + 1, failed)
            if pacing.exceeded(done, failed):
                return sent
        going = min(letters - sent, pacing.room(sent, sent - done - failed, (now - since).total_seconds()))
        if going:
            since = pacing.credited(since, now, going)
        sent += going
        if done + failed == letters:
            return sent
    raise AssertionError("it never ends")


def test_of_five_hundred_that_still_fail_one_is_sent():
    dice = random.Random(1)
    assert sent_until_it_stops(DEFAULT, 500, lambda: True, dice) == 1
    assert verdict(1, 0, 1) == "stopped at step 1, 1/1 failed"


def test_failing_half_the_time_with_a_stop_at_a_fifth_no_more_than_31_are_sent():
    most = 0
    for dice in map(random.Random, range(2000)):
        most = max(most, sent_until_it_stops(DEFAULT, 500, lambda dice=dice: dice.random() < 0.5, dice))
    assert 6 < most <= 31


@pytest.mark.parametrize("steps", [(), (1,), (1, 5, 25), (3, 3)])
@pytest.mark.parametrize("rate", [None, 0.7, 30.0])
def test_what_does_not_fail_is_sent_to_the_last(steps, rate):
    pacing = Pacing(steps, rate, 0.0)
    assert sent_until_it_stops(pacing, 100, lambda: False, random.Random(2)) == 100


@pytest.mark.parametrize(
    ("sent", "without_outcome", "room"),
    [
        (0, 0, 1), (1, 1, 0), (1, 0, 5), (4, 3, 2), (6, 1, 0), (6, 0, 25), (31, 1, 0),
        (31, 0, 3), (40, 9, 3),  # the rest: by time, whatever is without an outcome
    ],
)  # fmt: skip
def test_a_step_begins_once_all_outcomes_of_those_before_are_known(sent, without_outcome, room):
    assert DEFAULT.room(sent, without_outcome, idle_seconds=0.31) == room


def test_without_steps_and_rate_all_go_at_once():
    assert Pacing((), None).room(0, 0, 0) == sys.maxsize


def test_the_rest_keeps_its_rate_however_often_it_is_asked():
    pacing, since, now, sent = Pacing((), 7.0), NOW, NOW, 0
    for milliseconds in range(0, 10_000, 130):
        now = NOW + timedelta(milliseconds=milliseconds)
        room = pacing.room(sent, 0, (now - since).total_seconds())
        if room:
            since = pacing.credited(since, now, room)
        sent += room
    assert sent == int(7.0 * 9.88)


@pytest.mark.parametrize(("rate", "room"), [(10.0, 10), (0.5, 1)])
def test_a_long_pause_is_not_made_up_for(rate, room):
    pacing = Pacing((), rate)
    assert pacing.room(0, 0, idle_seconds=3600) == room
    since = pacing.credited(NOW - timedelta(hours=1), NOW, room)
    assert pacing.room(room, 0, (NOW - since).total_seconds()) == 0


@pytest.mark.parametrize(("number", "step"), [(1, 1), (2, 2), (6, 2), (7, 3), (31, 3), (32, 4), (5000, 4)])
def test_a_letter_has_its_step(number, step):
    assert DEFAULT.step_of(number) == step


@pytest.mark.parametrize(
    ("ratio", "done", "failed", "exceeded"),
    [
        (0.2, 0, 0, False), (0.2, 4, 1, False), (0.2, 3, 1, True), (0.0, 9, 0, False), (0.0, 9, 1, True),
        (1.0, 0, 9, False), (None, 0, 9, False),
    ],
)  # fmt: skip
def test_it_stops_once_the_part_that_failed_is_larger_than_allowed(ratio, done, failed, exceeded):
    assert Pacing(stop_ratio=ratio).exceeded(done, failed) is exceeded


@pytest.mark.parametrize(
    ("pacing", "field"),
    [
        (Pacing(steps=(0,)), "steps"), (Pacing(steps=(True,)), "steps"), (Pacing(steps=(1.5,)), "steps"),
        (Pacing(steps=(1,) * 21), "steps"), (Pacing(rate_per_second=0), "rate_per_second"),
        (Pacing(rate_per_second=1001), "rate_per_second"), (Pacing(rate_per_second=float("nan")), "rate_per_second"),
        (Pacing(stop_ratio=1.1), "stop_ratio"), (Pacing(stop_ratio=-0.1), "stop_ratio"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(pacing, field):
    assert [problem["field"] for problem in pacing.problems()] == [field]
    assert DEFAULT.problems() == []
