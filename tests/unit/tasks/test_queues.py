"""Pausing and resuming queues, and how they stand."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from tasks import queues
from tasks.audit import MAX_REASON
from tasks.brokers import QueueMissing
from tasks.dead_letters import operations, preflight
from tasks.errors import BrokerUnavailable, InvalidOperation, InvalidReason
from tasks.models import AuditEntry, PausedQueue
from tasks.states import JobState
from tasks.topology import TOPOLOGY
from tests.unit.tasks.factories import letter_of, make_job, make_worker

pytestmark = pytest.mark.django_db


def soon() -> datetime:
    return timezone.now() + timedelta(hours=1)


def ended(**ago: float) -> None:
    """All pauses have ended so long ago."""
    PausedQueue.objects.update(until=timezone.now() - timedelta(**ago))


def acts() -> list[tuple[str, str, str]]:
    return list(AuditEntry.objects.order_by("id").values_list("actor", "verb", "subject"))


def test_a_paused_queue_is_paused_until_it_is_resumed_and_both_are_written_down():
    row = queues.pause("email-queue", requested_by="ada", reason="the provider is away")
    assert (row.queue, row.paused_by, row.reason, row.until) == ("email-queue", "ada", "the provider is away", None)
    assert abs(timezone.now() - row.since) < timedelta(minutes=1)
    assert (queues.is_paused("email-queue"), queues.is_paused("sms-queue")) == (True, False)
    assert (queues.paused(), queues.paused_names()) == ({"email-queue": row}, {"email-queue"})
    assert queues.resume("email-queue", requested_by="bob")
    assert (queues.is_paused("email-queue"), queues.paused(), queues.paused_names()) == (False, {}, frozenset())
    assert acts() == [("ada", "queues.pause", "email-queue"), ("bob", "queues.resume", "email-queue")]


def test_to_resume_what_is_not_paused_does_nothing():
    assert not queues.resume("email-queue", requested_by="bob")
    queues.pause("email-queue", requested_by="ada")
    queues.resume("email-queue", requested_by="ada")
    assert not queues.resume("email-queue", requested_by="bob")
    assert len(acts()) == 2


def test_a_pause_ends_by_itself():
    row = queues.pause("email-queue", requested_by="ada", until=soon())
    assert (queues.is_paused("email-queue"), row.until > timezone.now()) == (True, True)
    ended(seconds=1)
    assert (queues.is_paused("email-queue"), queues.resume("email-queue", requested_by="bob")) == (False, False)


def test_to_pause_again_changes_the_end_and_the_reason_and_not_the_beginning():
    first = queues.pause("email-queue", requested_by="ada", until=soon())
    again = queues.pause("email-queue", requested_by="bob", reason="longer")
    assert (again.since, again.until, again.paused_by, again.reason) == (first.since, None, "bob", "longer")
    assert len(acts()) == 2


def test_a_pause_after_one_that_has_ended_begins_anew():
    first = queues.pause("email-queue", requested_by="ada")
    PausedQueue.objects.update(since=first.since - timedelta(hours=2))
    queues.resume("email-queue", requested_by="ada")
    assert queues.pause("email-queue", requested_by="ada").since >= first.since


@pytest.mark.parametrize(
    ("values", "error", "field"),
    [
        ({"name": "e-mail"}, InvalidOperation, "queue"),
        ({"name": "email-queue.dead"}, InvalidOperation, "queue"),
        ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, InvalidOperation, "until"),
        ({"until": datetime(2999, 1, 1)}, InvalidOperation, "until"),
        ({"reason": "x" * (MAX_REASON + 1)}, InvalidReason, "reason"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_field_and_pauses_nothing(values, error, field):
    with pytest.raises(error) as refused:
        queues.pause(**{"name": "email-queue", "requested_by": "ada", **values})
    assert [problem["field"] for problem in refused.value.problems] == [field]
    assert (queues.paused(), acts()) == ({}, [])


def test_to_resume_a_queue_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(InvalidOperation, match="there are email-queue, "):
        queues.resume("e-mail", requested_by="ada")


def test_a_reason_that_no_database_keeps_is_kept_in_words():
    assert queues.pause("email-queue", requested_by="a\0", reason="why\0\udfff").reason == "why\\0\\udfff"


def test_a_queue_stands_while_it_is_paused_and_for_the_grace_after_it():
    grace = timedelta(seconds=30)
    assert queues.standing(grace) == set()
    queues.pause("email-queue", requested_by="ada")
    assert queues.standing(grace) == {"email-queue"}
    ended(seconds=10)
    assert queues.standing(grace) == {"email-queue"}
    ended(seconds=40)
    assert queues.standing(grace) == set()


# How they stand


class FakeBroker:
    def __init__(self, depths):
        self.depths = depths

    def depth(self, queue):
        answer = self.depths.get(queue, 0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        return None


@pytest.fixture
def depths(monkeypatch):
    """What the broker says; an exception is raised."""
    told: dict[str, int | Exception] = {}
    monkeypatch.setattr("tasks.brokers.connect", lambda: FakeBroker(told))
    return told


def by_name() -> dict[str, queues.QueueState]:
    return {state.name: state for state in queues.states()}


def test_of_each_queue_is_told_what_waits_what_runs_and_who_takes_it(depths):
    depths["email-queue"] = 7
    for state in (JobState.QUEUED, JobState.QUEUED, JobState.RUNNING, JobState.RETRYING, JobState.SUCCEEDED):
        make_job(state, queue="email-queue")
    make_worker(queues=["email-queue", "sms-queue"])
    make_worker(queues=["email-queue"])
    make_worker(queues=["email-queue"], stopped_at=timezone.now())
    pause = queues.pause("email-queue", requested_by="ada")
    states = by_name()
    assert list(states) == list(TOPOLOGY.queue_names)
    assert states["email-queue"] == queues.QueueState(
        "email-queue", 7, "", {"scheduled": 0, "queued": 2, "running": 1, "retrying": 1}, 2, pause
    )
    assert (states["sms-queue"].workers, states["sms-queue"].pause, states["push-queue"].workers) == (1, None, 0)


def test_unknown_is_not_zero(depths):
    depths["sms-queue"] = QueueMissing("sms-queue")
    states = by_name()
    assert (states["email-queue"].messages, states["sms-queue"].messages) == (0, None)
    assert "topology apply" in states["sms-queue"].trouble
    depths["email-queue"] = BrokerUnavailable("refused by amqp://me:secret@host")
    states = by_name()
    assert {state.messages for state in states.values()} == {None}
    assert {state.trouble for state in states.values()} == {"the broker can not be asked"}


# The recovery desk


def test_letters_of_a_paused_queue_are_left_out_without_anybody_asking_for_it():
    letter_of(queue="work-queue")
    queues.pause("work-queue", requested_by="ada")
    assert preflight.look("replay", {}).skipped == {"queue_paused": 1}
    with pytest.raises(InvalidOperation):
        operations.start("replay", {}, requested_by="ada")
    queues.resume("work-queue", requested_by="ada")
    assert preflight.look("replay", {}).skipped == {}


def test_what_an_operation_has_not_sent_when_its_queue_is_paused_is_left_out(outbox):
    letters = [letter_of() for _ in range(3)]
    operation = operations.start("replay", {}, requested_by="ada", steps=[1])
    queues.pause("work-queue", requested_by="ada")
    operations.advance()
    operation.refresh_from_db()
    assert (operation.state, operation.skipped) == ("done", {"queue_paused": 3})
    assert {letter.state for letter in type(letters[0]).objects.all()} == {"open"}
