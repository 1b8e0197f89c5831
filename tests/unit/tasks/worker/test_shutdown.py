"""The end of a worker: how long it may take, and in which order things are done when its time is up."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state
from django.db import OperationalError

from tasks.models import Job
from tasks.states import JobState
from tasks.worker import shutdown as room
from tasks.worker.claiming import Attempt, HandedBack
from tasks.worker.shutdown import Shutdown
from tests.unit.tasks.factories import kinds, make_job, make_worker

GRACE_SECONDS = 30.0


class Clock:
    """Stands in for the module ``time``."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(room, "time", clock)
    monkeypatch.setattr(state, "should_stop", None)
    return clock


class Left(BaseException):
    """The process has ended."""


class Consumer:
    """Tells what was asked of it."""

    def __init__(self, told: list[Any]):
        self._told = told
        self.outcomes: set[str] = set()
        self.attempts_in_hand: list[Any] = []

    def salvage(self) -> None:
        self._told.append("salvage")

    def flush_outcomes(self, timeout_seconds: float) -> bool:
        self._told.append(("flush", timeout_seconds))
        return True

    def holds_outcome_of(self, attempt_id: str) -> bool:
        return attempt_id in self.outcomes


@pytest.fixture
def told() -> list[Any]:
    return []


@pytest.fixture
def shutdown(clock, told, monkeypatch) -> Shutdown:
    """Of a worker whose process never really ends."""

    def leave(code: int) -> None:
        told.append("exit")
        raise Left

    monkeypatch.setattr(room.threading, "Timer", lambda seconds, call: SimpleNamespace(start=lambda: None))
    monkeypatch.setattr(room.logging, "shutdown", lambda: None)
    monkeypatch.setattr(room.os, "_exit", leave)
    monkeypatch.setattr(room, "connection", SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(room, "_kill", lambda children: told.append(("kill", *children)))
    monkeypatch.setattr(room.publisher, "flush", lambda seconds: told.append("publish"))
    monkeypatch.setattr(room.supervision, "sign_off", lambda worker: told.append("sign off"))
    pool = SimpleNamespace(info={"processes": [71, 72]}, _pool=SimpleNamespace(close=lambda: None))
    worker = SimpleNamespace(consumer=Consumer(told), pool=pool, worker_process=None, pidlock=None, exitcode=None)
    return Shutdown(worker, GRACE_SECONDS)


@pytest.mark.parametrize(
    ("asked", "passed", "left"),
    [
        (None, 0, 0.0),
        ({}, 0, GRACE_SECONDS),
        ({}, 10, GRACE_SECONDS - 10),
        ({}, GRACE_SECONDS + 1, 0.0),
        ({"at_once": True}, 0, 0.0),
        ({"at_once": True}, 1, 0.0),
        ({"restart": True}, 10, GRACE_SECONDS - 10),
    ],
)
def test_the_time_that_is_left_runs_from_when_the_end_was_asked_for(shutdown, clock, asked, passed, left):
    if asked is not None:
        shutdown.ask(**asked)
    clock.now += passed
    assert shutdown.seconds_left == left


def test_a_second_wish_for_the_end_leaves_no_time(shutdown, clock):
    shutdown.ask()
    clock.now += 5
    shutdown.ask(at_once=True)
    assert shutdown.seconds_left == 0.0


def test_what_killed_children_have_left_behind_is_recorded_before_the_rest_is_handed_back(shutdown, told, monkeypatch):
    monkeypatch.setattr(shutdown, "_hand_back", lambda interrupted: told.append("hand back"))
    with pytest.raises(Left):
        shutdown.end()
    assert told == [
        ("kill", 71, 72), "salvage", ("flush", room.FLUSH_SECONDS), "hand back", "publish", "sign off", "exit",
    ]  # fmt: skip
    assert shutdown.interrupts


def test_a_pool_that_has_drained_leaves_its_outcomes_the_time_that_is_left(shutdown, told, clock, monkeypatch):
    monkeypatch.setattr(shutdown, "_hand_back", lambda interrupted: told.append("hand back"))
    shutdown.ask()
    clock.now += 10
    shutdown.finish()
    assert told == [("flush", GRACE_SECONDS - 10), "hand back", "publish", "sign off"]


# What is handed back


@pytest.mark.django_db
def test_all_that_the_database_says_runs_here_is_handed_back_but_what_has_an_outcome(shutdown, outbox, caplog):
    worker = shutdown._worker.worker_process = make_worker()
    ran, has_outcome, claimed_just_now, elsewhere = (
        make_job(JobState.RUNNING, worker=owner) for owner in (worker, worker, worker, make_worker())
    )
    shutdown._worker.consumer.outcomes = {f"{has_outcome.pk}.1"}
    shutdown._hand_back([SimpleNamespace(job=ran, ran_seconds=2.5)])
    assert [kinds(job) for job in (ran, claimed_just_now)] == [["handed_back"]] * 2
    assert [kinds(job) for job in (has_outcome, elsewhere)] == [[]] * 2
    assert f"job {ran.pk}.1 probe.echo, after 2.5 s" in caplog.text
    assert f"job {claimed_just_now.pk}.1 probe.echo, before it began" in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize("away", [False, True])
def test_what_can_not_be_handed_back_is_left_to_supervision(shutdown, caplog, monkeypatch, away):
    worker = shutdown._worker.worker_process = make_worker()
    job = make_job(JobState.RUNNING, worker=worker)

    def hand_back(attempts: Sequence[Attempt], of: Any, *, why: str) -> HandedBack:
        assert (attempts, of) == ([(job.pk, 1)], worker)
        if away:
            raise OperationalError("away")
        return HandedBack([], {(job.pk, 1)})

    monkeypatch.setattr(room, "hand_back", hand_back)
    shutdown._hand_back([SimpleNamespace(job=job, ran_seconds=None)])
    assert "1 attempts are left to supervision" in caplog.text
    assert Job.objects.get().state == JobState.RUNNING
