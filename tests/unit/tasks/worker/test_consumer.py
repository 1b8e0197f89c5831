"""What the consumer does when the database, or an outcome, is not what it should be."""

import uuid
from collections import deque
from types import SimpleNamespace

import pytest
from django.db import DataError, OperationalError

from tasks.models import Job
from tasks.states import JobState
from tasks.worker import consumer as room
from tasks.worker.claiming import Answer, Claim
from tasks.worker.consumer import JobConsumer
from tasks.worker.envelope import Envelope
from tasks.worker.outcome import Outcome

DONE = Outcome(succeeded=True)


class Timer:
    def __init__(self):
        self.later = []

    def call_after(self, seconds, call):
        self.later.append(call)


@pytest.fixture
def consumer():
    """A consumer without a worker around it."""
    bare = JobConsumer.__new__(JobConsumer)
    bare._unclaimed, bare._unrecorded, bare._recording = deque(), deque(), set()
    bare.hostname, bare.timer, bare._will_try = "w@test", Timer(), False
    bare.controller = SimpleNamespace(worker_process=None, shutdown=SimpleNamespace(asked=False, interrupts=False))
    bare.pool, bare.messages_arrived = SimpleNamespace(num_processes=2), 0
    bare.controller.max_concurrency, bare.controller.marks = None, SimpleNamespace(note=lambda job: None)
    bare.call_soon = lambda call, *arguments: call(*arguments)
    return bare


class Request:
    """Remembers how it was settled."""

    def __init__(self):
        self.id, self.job, self.settled = "1", Job(pk=uuid.uuid4()), []

    def settle(self, reached, outcome):
        self.settled.append((reached, outcome.succeeded))


def raising(*errors):
    """A ``record`` that raises ``errors`` in turn, None for success."""
    left = iter(errors)

    def record(ended):
        error = next(left)
        if error is not None:
            raise error
        return [JobState.SUCCEEDED if ended[0].outcome.succeeded else JobState.DEAD]

    return record


@pytest.fixture(autouse=True)
def no_database(monkeypatch):
    monkeypatch.setattr(room, "connection", SimpleNamespace(close=lambda: None))


def test_an_outcome_is_held_while_the_database_is_away(consumer, monkeypatch):
    monkeypatch.setattr(room, "record", raising(OperationalError("away"), OperationalError("away"), None))
    request = Request()
    consumer._record(request, DONE)
    assert request.settled == []
    assert consumer.in_hand(request.id)
    while consumer.timer.later:
        consumer.timer.later.pop()()
    assert request.settled == [(JobState.SUCCEEDED, True)]
    assert not consumer.in_hand(request.id)


@pytest.mark.parametrize("error", [DataError("out of range"), OverflowError("too large"), ZeroDivisionError()])
def test_an_outcome_that_no_row_can_hold_ends_its_job_and_frees_its_slot(consumer, monkeypatch, error):
    monkeypatch.setattr(room, "record", raising(error, None))
    request = Request()
    consumer._record(request, DONE)
    assert request.settled == [(JobState.DEAD, False)]


def test_an_attempt_that_can_not_be_recorded_at_all_still_frees_its_slot(consumer, monkeypatch):
    monkeypatch.setattr(room, "record", raising(DataError("bad"), DataError("worse")))
    request = Request()
    consumer._record(request, DONE)
    assert len(request.settled) == 1


def test_a_row_that_can_not_be_read_does_not_hold_up_the_others(consumer, monkeypatch):
    good, bad = (Envelope(uuid.uuid4(), 1, "probe.echo") for _ in range(2))

    def claim(envelopes, worker, *, in_hand):
        if bad in envelopes:
            raise DataError("timestamp too large")
        return [Claim(Answer.RUN)] * len(envelopes)

    monkeypatch.setattr(room, "claim", claim)
    answers = [claimed.answer for claimed in consumer._claim([good, bad, good])]
    assert answers == [Answer.RUN, Answer.REJECT, Answer.RUN]


def test_only_as_much_is_claimed_as_there_are_free_slots_the_urgent_first(consumer, monkeypatch):
    plain, urgent = ([Envelope(uuid.uuid4(), 1, "probe.echo") for _ in range(2)] for _ in range(2))
    asked: list[Envelope] = []

    def claim(envelopes, worker, *, in_hand):
        asked.extend(envelopes)
        return [Claim(Answer.RUN, Job(pk=envelope.job_id)) for envelope in envelopes]

    running: list[object] = []
    monkeypatch.setattr(room, "claim", claim)
    monkeypatch.setattr(JobConsumer, "attempts_in_hand", property(lambda self: running))
    monkeypatch.setattr(JobConsumer, "_run", lambda self, job, message: running.append(job))
    monkeypatch.setattr(room, "read_envelope", lambda *_, **__: arriving.pop(0))
    arriving = [*plain, *urgent]
    consumer.pool.num_processes = 0  # both plain ones arrive while nothing is free
    on_message = consumer.create_task_handler()
    for exchange in ("work-exchange", "work-exchange", "priority-exchange", "priority-exchange"):
        on_message(SimpleNamespace(headers={}, body=b"", content_type="", delivery_info={"exchange": exchange}))
    consumer.pool.num_processes = 3
    consumer._claim_waiting()
    assert asked == [*reversed(urgent), plain[0]]
    running.pop()
    consumer._claim_waiting()
    assert asked[3:] == [plain[1]]


def test_an_outage_is_not_taken_for_a_bad_row(consumer, monkeypatch):
    def claim(envelopes, worker, *, in_hand):
        raise OperationalError("away")

    monkeypatch.setattr(room, "claim", claim)
    with pytest.raises(OperationalError):
        consumer._claim([Envelope(uuid.uuid4(), 1, "probe.echo")])


def test_however_many_outcomes_wait_there_is_one_timer(consumer, monkeypatch):
    def away(ended):
        raise OperationalError("away")

    monkeypatch.setattr(room, "record", away)
    for _ in range(4):
        consumer._record(Request(), DONE)
    for _ in range(5):
        assert len(consumer.timer.later) == 1
        consumer.timer.later.pop()()
    assert len(consumer._unrecorded) == 4
