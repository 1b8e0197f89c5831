"""An attempt that has ended: its message is settled after its outcome is in the database, and by what it came to."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tasks.states import JobState
from tasks.worker import settling as room
from tasks.worker.outcome import Outcome
from tasks.worker.settling import Settling

DONE = Outcome(succeeded=True)


class Recorder:
    """Keeps what it is given, until the test says what it came to."""

    def __init__(self, settle: Callable[[list[Any]], None]):
        self.kept: list[Any] = []
        self.flushed: list[float] = []
        self._settle = settle

    def __bool__(self) -> bool:
        return bool(self.kept)

    def add(self, endings: Iterable[Any]) -> None:
        self.kept += endings

    def request_of(self, attempt_id: str) -> Any:
        return {request.id: request for request, _ in self.kept}.get(attempt_id)

    def flush(self, timeout_seconds: float) -> bool:
        self.flushed.append(timeout_seconds)
        self.commit()
        return True

    def commit(self, reached: Any = JobState.SUCCEEDED) -> None:
        """All of it is in the database."""
        kept, self.kept = self.kept, []
        self._settle([(request, outcome, reached) for request, outcome in kept])


class Deliveries:
    """Remembers how each message was settled, in which order and company."""

    def __init__(self) -> None:
        self.settled: list[Any] = []

    def acknowledge(self, messages: Iterable[Any]) -> None:
        if messages := list(messages):
            self.settled.append(("ack", *messages))

    def reject(self, message: Any) -> None:
        self.settled.append(("reject", message))


class Request:
    def __init__(self, name: str):
        self.id, self.message, self.told = name, f"message of {name}", []

    def tell(self, outcome: Outcome, reached: Any) -> None:
        self.told.append((outcome, reached))


@pytest.fixture
def deliveries() -> Deliveries:
    return Deliveries()


@pytest.fixture
def soon() -> list[Callable[[], None]]:
    """What is to be called on the thread that owns the deliveries."""
    return []


@pytest.fixture
def settling(monkeypatch, soon, deliveries) -> Settling:
    monkeypatch.setattr(room, "Recorder", Recorder)
    return Settling(soon=soon.append, deliveries=lambda: deliveries)


def test_an_outcome_that_is_not_in_the_database_settles_nothing(settling, soon, deliveries):
    request = Request("a")
    settling.add([(request, DONE)])
    settling.settle()
    assert (deliveries.settled, request.told, soon) == ([], [], [])
    assert (bool(settling), bool(settling.request_of("a")), bool(settling.request_of("b"))) == (True, True, False)


def test_what_is_committed_is_settled_on_the_thread_that_owns_the_deliveries(settling, soon, deliveries):
    request = Request("a")
    settling.add([(request, DONE)])
    settling._recorder.commit()
    assert (deliveries.settled, request.told) == ([], []), "the recorder's own thread touches neither"
    assert (bool(settling), bool(settling.request_of("a"))) == (False, False)
    (call,) = soon
    call()
    assert (deliveries.settled, request.told) == ([("ack", "message of a")], [(DONE, JobState.SUCCEEDED)])


@pytest.mark.parametrize(
    ("reached", "settled"),
    [
        (JobState.SUCCEEDED, "ack"),
        (JobState.RETRYING, "ack"),
        (JobState.CANCELLED, "ack"),
        (None, "ack"),  # it came too late to count
        (JobState.DEAD, "reject"),
    ],
)
def test_a_message_is_settled_by_what_its_job_came_to(settling, deliveries, reached, settled):
    request = Request("a")
    settling.add([(request, DONE)])
    settling._recorder.commit(reached)
    settling.settle()
    assert (deliveries.settled, request.told) == ([(settled, "message of a")], [(DONE, reached)])


def test_what_was_committed_meanwhile_is_acknowledged_together_and_once(settling, soon, deliveries):
    for name in "abc":
        settling.add([(Request(name), DONE)])
        settling._recorder.commit(JobState.DEAD if name == "b" else JobState.SUCCEEDED)
    for call in soon:
        call()
    assert deliveries.settled == [("ack", "message of a", "message of c"), ("reject", "message of b")]


def test_what_is_committed_while_others_are_settled_is_not_forgotten(settling, soon, deliveries):
    first, second = Request("a"), Request("b")

    def tell(outcome: Outcome, reached: Any) -> None:
        settling.add([(second, DONE)])
        settling._recorder.commit()

    first.tell = tell
    settling.add([(first, DONE)])
    settling._recorder.commit()
    for call in soon:
        call()
    assert deliveries.settled == [("ack", "message of a"), ("ack", "message of b")]


def test_messages_are_settled_by_the_deliveries_of_the_present_connection(monkeypatch, soon):
    monkeypatch.setattr(room, "Recorder", Recorder)
    connections = [Deliveries(), Deliveries()]
    settling = Settling(soon=soon.append, deliveries=lambda: connections[-1])
    settling.add([(Request("a"), DONE)])
    connections.append(Deliveries())
    settling._recorder.commit()
    settling.settle()
    assert [each.settled for each in connections] == [[], [], [("ack", "message of a")]]


def test_whoever_flushes_settles_himself_once_the_thread_has_ended(monkeypatch, deliveries):
    monkeypatch.setattr(room, "Recorder", Recorder)
    settling = Settling(soon=lambda call: None, deliveries=lambda: deliveries)
    settling.add([(Request("a"), DONE)])
    assert settling.flush(7.0)
    assert (settling._recorder.flushed, deliveries.settled) == ([7.0], [])
    settling.settle()
    assert deliveries.settled == [("ack", "message of a")]
