"""Outcomes wait for the database and for nothing else, and are settled when they are committed."""

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.states import JobState
from tasks.worker import recorder as room
from tasks.worker.outcome import Outcome
from tasks.worker.recorder import Recorder
from tasks.worker.recording import HELD, Ended
from tests.waiting import wait_for

PATIENCE = 10


class Database:
    """In place of ``record``. Outcomes whose result is in ``held`` are held; each group waits while it is ``busy``."""

    def __init__(self) -> None:
        self.groups: list[list[Any]] = []
        self.held: set[Any] = set()
        self.free = threading.Event()
        self.free.set()

    def record(self, ended: list[Ended]) -> list[Any]:
        self.groups.append([each.outcome.result for each in ended])
        assert self.free.wait(PATIENCE)
        return [HELD if each.outcome.result in self.held else each.job for each in ended]

    @property
    def tried(self) -> list[Any]:
        return [result for group in self.groups for result in group]


@pytest.fixture
def database(monkeypatch) -> Database:
    database = Database()
    monkeypatch.setattr(room, "record", database.record)
    monkeypatch.setattr(room, "PAUSE_SECONDS", 0.02)
    return database


@pytest.fixture
def settled() -> list[Any]:
    return []


@pytest.fixture
def recorder(database, settled) -> Iterator[Recorder]:
    recorder = Recorder(settle=settled.extend)
    yield recorder
    database.held.clear()
    database.free.set()
    assert recorder.flush(PATIENCE)


def ending(name: Any, state: Any = JobState.SUCCEEDED) -> Any:
    """Its job is the state that it reaches."""
    return SimpleNamespace(id=name, job=state, hostname="w@test"), Outcome(succeeded=True, result=name)


def names(settled: list[Any]) -> list[Any]:
    return [request.id for request, _, _ in settled]


def eventually(condition: Callable[[], object], what: str) -> None:
    wait_for(condition, what, PATIENCE)


def test_nothing_waits_before_anything_has_ended(recorder):
    assert (bool(recorder), bool(recorder.request_of("a")), recorder.flush(0)) == (False, False, True)


def test_one_that_comes_alone_is_recorded_at_once_and_settled(recorder, database, settled):
    request, outcome = ending("a", JobState.DEAD)
    recorder.add([(request, outcome)])
    eventually(lambda: settled, "the outcome to be settled")
    assert (settled, database.groups) == ([(request, outcome, JobState.DEAD)], [["a"]])
    assert not recorder


def test_what_comes_meanwhile_is_recorded_together_in_its_order(recorder, database, settled):
    database.free.clear()
    recorder.add([ending("first")])
    eventually(lambda: database.groups, "the first to be on its way")
    recorder.add(ending(number) for number in range(20))
    recorder.add([ending(20)])
    database.free.set()
    eventually(lambda: len(settled) == 22, "all to be settled")
    assert database.groups == [["first"], list(range(21))]
    assert names(settled) == ["first", *range(21)]


def test_a_group_has_a_limit(recorder, database, settled, monkeypatch):
    monkeypatch.setattr(room, "MOST_AT_ONCE", 10)
    recorder.add(ending(number) for number in range(25))
    eventually(lambda: len(settled) == 25, "all to be settled")
    assert [len(group) for group in database.groups] == [10, 10, 5]
    assert names(settled) == list(range(25))


def test_a_held_outcome_is_not_settled_before_it_is_recorded(recorder, database, settled):
    database.held = {"held"}
    recorder.add([ending("held"), ending("a")])
    eventually(lambda: database.tried.count("held") > 2, "it to be tried again and again")
    assert names(settled) == ["a"]
    assert (bool(recorder.request_of("held")), bool(recorder.request_of("a"))) == (True, False)
    database.held.clear()
    eventually(lambda: len(settled) == 2, "it to be settled")
    assert names(settled) == ["a", "held"]
    assert (bool(recorder), bool(recorder.request_of("held"))) == (False, False)


def test_held_outcomes_never_delay_new_ones(recorder, database, settled, monkeypatch):
    monkeypatch.setattr(room, "PAUSE_SECONDS", 3600)
    database.held = {"held"}
    recorder.add([ending("held")])
    eventually(lambda: database.groups, "it to be held")
    for number in range(5):
        recorder.add([ending(number)])
        eventually(lambda number=number: number in names(settled), "a new one to be settled")
    assert database.tried.count("held") == 1
    assert [bool(recorder.request_of(name)) for name in ("held", *range(5))] == [True] + [False] * 5


def test_many_held_outcomes_are_tried_once_a_pause_and_together(recorder, database, settled, monkeypatch):
    monkeypatch.setattr(room, "PAUSE_SECONDS", 3600)
    database.held = set(range(10))
    recorder.add(ending(number) for number in range(10))
    eventually(lambda: len(recorder._held) == 10 and not recorder._new, "all to be held")
    database.held = set()
    assert recorder.flush(PATIENCE)
    assert database.groups == [list(range(10))] * 2


def test_what_is_held_again_goes_behind_the_others(recorder, database, settled, monkeypatch):
    """So that one row which stays held keeps no other from its turn."""
    monkeypatch.setattr(room, "MOST_AT_ONCE", 2)
    database.held = {0, 1, 2, 3}
    recorder.add(ending(number) for number in range(4))
    eventually(lambda: len(recorder._held) == 4 and not recorder._new, "all to be held")
    database.held = {0, 1}
    eventually(lambda: len(settled) == 2, "the others to be settled")
    assert sorted(names(settled)) == [2, 3]


def test_an_attempt_is_known_all_the_way_into_the_database(recorder, database, settled):
    database.free.clear()
    recorder.add([ending("a")])
    eventually(lambda: database.groups, "it to be on its way")
    assert (bool(recorder), bool(recorder.request_of("a")), bool(recorder.request_of("b"))) == (True, True, False)
    database.free.set()
    eventually(lambda: settled, "it to be settled")
    assert not bool(recorder.request_of("a"))


def test_no_look_ever_misses_an_attempt_that_is_held_again_and_again(recorder, database, monkeypatch):
    monkeypatch.setattr(room, "PAUSE_SECONDS", 0.0)
    database.held = {"a", "b"}
    recorder.add([ending("a"), ending("b")])
    eventually(lambda: len(database.groups) > 100, "many tries")
    looks = {(bool(recorder.request_of("a")), bool(recorder.request_of("b"))) for _ in range(5000)}
    assert looks == {(True, True)}


def test_an_attempt_is_known_from_the_moment_it_is_added(recorder, database):
    """Whoever adds it has just let go of it himself."""
    database.free.clear()
    recorder.add(iter([ending("a"), ending("b")]))
    assert [bool(recorder.request_of(name)) for name in "abc"] == [True, True, False]


def test_flush_waits_for_what_is_on_its_way_and_says_when_the_time_ran_out(recorder, database):
    database.free.clear()
    recorder.add([ending("a")])
    assert not recorder.flush(0.01)
    threading.Timer(0.01, database.free.set).start()
    assert recorder.flush(PATIENCE)


def test_flush_tries_what_is_held_at_once(recorder, database, settled, monkeypatch):
    monkeypatch.setattr(room, "PAUSE_SECONDS", 3600)
    database.held = {"a"}
    recorder.add([ending("a")])
    eventually(lambda: recorder._held and not recorder._new, "it to be held")
    assert not recorder.flush(0.05)
    eventually(lambda: database.tried == ["a", "a"], "one further try")
    database.held.clear()
    assert recorder.flush(PATIENCE)


def test_outcomes_may_come_from_many_threads(recorder, database, settled):
    threads = [
        threading.Thread(target=lambda first=first: [recorder.add([ending(first + n)]) for n in range(100)])
        for first in range(0, 800, 100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: len(settled) == 800, "all to be settled")
    assert sorted(names(settled)) == list(range(800))
    assert len([thread for thread in threading.enumerate() if thread is recorder._thread]) == 1


@pytest.mark.parametrize("where", ["record", "settle"])
def test_a_fault_in_one_group_keeps_no_later_one_from_being_recorded(monkeypatch, where):
    faults, settled = [RuntimeError("odd")], []

    def faulty(name):
        if name == where and faults:
            raise faults.pop()

    def record(ended):
        faulty("record")
        return [JobState.SUCCEEDED] * len(ended)

    def settle(endings):
        faulty("settle")
        settled.extend(request.id for request, _, _ in endings)

    monkeypatch.setattr(room, "record", record)
    monkeypatch.setattr(room, "PAUSE_SECONDS", 0.01)
    recorder = Recorder(settle=settle)
    recorder.add([ending("a")])
    wait_for(lambda: not faults, "the fault")
    recorder.add([ending("b")])
    wait_for(lambda: "b" in settled, "the second to be settled")
