import math
import random
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Count
from django.db.models.functions import Now
from django.test import TestCase
from django.utils import timezone

from tasks import audit, brokers, jobs
from tasks.dead_letters import discarding, operations, preflight, replaying
from tasks.errors import BrokerUnavailable, IllegalTransition, InvalidJob, InvalidOperation
from tasks.models import AuditEntry, DeadLetter, Job, Operation, OperationItem
from tasks.states import JobState
from tests.unit.tasks.factories import kinds, letter_of, make_job, make_message_letter

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]

committed = partial(TestCase.captureOnCommitCallbacks, execute=True)
start = partial(operations.start, requested_by="ada")
advance = partial(operations.advance, 60)  # as far as it goes, on however slow a machine
State = OperationItem.State


def make_letters(number: int) -> list[DeadLetter]:
    now = timezone.now()
    rows = Job.objects.bulk_create(
        Job(task="probe.echo", queue="work-queue", payload={}, state="dead", attempt=3, finished_at=now)
        for _ in range(number)
    )
    return DeadLetter.objects.bulk_create(
        DeadLetter(job=job, attempt=3, reason="exhausted", task=job.task, queue=job.queue, headers={"n": n})
        for n, job in enumerate(rows)
    )


def fate(job_ids: Any, state: str) -> None:
    """The queued among the jobs run, and end in ``state``; each with its letter when that is dead."""
    for job in Job.objects.filter(pk__in=job_ids, state=JobState.QUEUED).order_by("queued_at", "pk"):
        Job.objects.filter(pk=job.pk).update(
            state=state, attempt=job.attempt + 1, finished_at=timezone.now(), error="still broken"
        )
        if state == JobState.DEAD:
            letter_of(Job.objects.get(pk=job.pk))


def queued() -> list[Any]:
    return list(Job.objects.filter(state=JobState.QUEUED).values_list("pk", flat=True))


def earlier(operation: Operation, seconds: float = 5) -> None:
    """As if it had last sent something that long ago."""
    Operation.objects.filter(pk=operation.pk).update(moved_at=timezone.now() - timedelta(seconds=seconds))


def check_counts(operation: Operation) -> None:
    """The operation's counts are those of its items."""
    operation.refresh_from_db()
    counted = dict(operation.items.order_by().values_list("state").annotate(Count("pk")))
    told = {
        State.PENDING: operation.waiting,
        State.SENT: operation.sent,
        State.DONE: operation.done,
        State.FAILED: operation.failed,
        State.SKIPPED: sum(operation.skipped.values()),
    }
    assert counted == {state: number for state, number in told.items() if number}


def test_of_500_letters_of_a_task_that_is_still_broken_one_is_sent():
    letters = make_letters(500)
    before = list(DeadLetter.objects.order_by("id").values()[1:500])
    operation = start("replay", {"task": "probe.echo"})
    for _ in range(10):
        advance()
        fate(queued(), JobState.DEAD)
    check_counts(operation)
    assert (operation.state, operation.verdict) == ("stopped", "stopped at step 1, 1/1 failed")
    assert (operation.failed, operation.waiting, operation.finished_at is not None) == (1, 499, True)
    assert kinds(letters[0].job) == ["replayed"]
    assert Job.objects.filter(events__isnull=False).count() == 1
    assert list(DeadLetter.objects.order_by("id").values()[1:500]) == before, "the other 499 have changed"


@pytest.mark.parametrize("seed", range(25))
def test_failing_half_the_time_with_a_stop_at_a_fifth_no_more_than_31_are_sent(seed):
    dice = random.Random(seed)
    make_letters(60)
    operation = start("replay", {"task": "probe.echo"}, stop_ratio=0.2)
    for _ in range(200):
        advance()
        earlier(operation)
        for id in queued()[: dice.randint(0, 9)]:
            fate([id], dice.choice([JobState.DEAD, JobState.SUCCEEDED]))
        check_counts(operation)
        if operation.finished_at:
            break
    assert operation.state == "stopped"
    assert operation.sent + operation.done + operation.failed <= 31


def make_ten_with_four_blockers() -> list[DeadLetter]:
    """Six letters that can be replayed, and one each that can not for its own reason; the oldest is one of these."""
    past = timezone.now() - timedelta(hours=1)
    blocked = [
        letter_of(make_job(JobState.DEAD, task="gone.gone")),
        letter_of(make_job(JobState.DEAD, payload={"seconds": "soon"})),
        letter_of(make_job(JobState.DEAD, expires_at=past)),
        letter_of(make_job(JobState.DEAD, correlation_id="order-17"), died_at=past),
    ]
    make_job(JobState.SUCCEEDED, correlation_id="order-17")
    return [*blocked[:1], *make_letters(6), *blocked[1:]]


def test_of_ten_letters_with_four_blockers_just_the_other_six_are_replayed_though_a_hundred_more_arrive():
    letters = make_ten_with_four_blockers()
    found = preflight.look("replay", "reason:exhausted")
    reasons = {"unknown_task": 1, "invalid_payload": 1, "expired": 1, "already_done": 1}
    assert (found.matched, found.will, found.skipped) == (10, 6, reasons)

    operation = start("replay", "reason:exhausted", steps=[])
    late = make_letters(100)
    for _ in range(20):
        advance()
        earlier(operation)
        fate(queued(), JobState.SUCCEEDED)
    check_counts(operation)
    assert (operation.state, operation.total, operation.done, operation.skipped) == ("done", 6, 6, reasons)
    assert operation.verdict == "6 done, 4 left out"
    replayed = DeadLetter.objects.filter(state="replayed").order_by("id").values_list("pk", flat=True)
    assert list(replayed) == [letter.pk for letter in letters[1:7]]
    assert DeadLetter.objects.filter(pk__in=[letter.pk for letter in late], state="open").count() == 100


def test_the_steps_wait_for_the_outcomes_of_those_before_and_the_oldest_goes_first():
    letters = make_letters(40)
    operation = start("replay", {})
    sizes = []
    for _ in range(4):
        advance()
        advance()
        earlier(operation)
        sent = queued()
        assert sorted(sent) == [letter.job_id for letter in letters[sum(sizes) :][: len(sent)]]
        sizes.append(len(sent))
        fate(sent[:-1], JobState.SUCCEEDED)
        advance()
        assert len(queued()) == 1, "a step began before the last outcome of the one before"
        fate(sent, JobState.SUCCEEDED)
        earlier(operation)
    assert sizes == [1, 5, 25, 9]
    advance()
    check_counts(operation)
    assert (operation.state, operation.done, operation.step) == ("done", 40, 4)


def test_as_fast_as_it_can_keeps_no_rate():
    make_letters(60)
    operation = start("replay", {}, steps=[], rate_per_second=math.inf)
    assert operation.rate_per_second is None
    assert advance() == 60


def test_the_rest_keeps_its_rate():
    make_letters(30)
    operation = start("replay", {}, steps=[], rate_per_second=5)
    Operation.objects.filter(pk=operation.pk).update(moved_at=Now())
    advance()
    assert queued() == []
    earlier(operation, 1)
    for _ in range(5):
        advance()
    assert len(queued()) == 5


def test_a_cancelled_job_has_no_say_and_another_goes_in_its_place():
    make_letters(3)
    operation = start("replay", {}, steps=[1, 1])
    advance()
    jobs.cancel(queued()[0])
    advance()
    advance()
    check_counts(operation)
    assert (operation.skipped, operation.done, operation.failed, operation.step) == ({"cancelled": 1}, 0, 0, 1)
    assert len(queued()) == 1


def test_what_somebody_else_replayed_or_discarded_meanwhile_is_left_out():
    first, second, third = make_letters(3)
    operation = start("replay", {}, steps=[])
    replaying.replay(first.pk)
    fate(queued(), JobState.SUCCEEDED)
    discarding.discard(second.pk, requested_by="bob", reason="a duplicate")
    earlier(operation)
    advance()
    check_counts(operation)
    assert operation.skipped == {"already_replayed": 1, "already_discarded": 1}
    assert queued() == [third.job_id]


def test_a_letter_that_is_refused_keeps_no_other_waiting(monkeypatch):
    first, _ = make_letters(2)
    operation = start("replay", {}, steps=[])
    replay = replaying.replay

    def refuse(letter_id: Any, **options: Any) -> DeadLetter:
        Job.objects.filter(pk=first.job_id).update(attempt=99)  # undone with the rest of what failed
        if letter_id == first.pk:
            raise ZeroDivisionError("a bug")
        return replay(letter_id, **options)

    monkeypatch.setattr(replaying, "replay", refuse)
    earlier(operation)
    advance()
    check_counts(operation)
    assert (operation.skipped, operation.sent) == ({"refused": 1}, 1)
    assert operation.items.get(state=State.SKIPPED).why == "ZeroDivisionError: a bug"


def test_messages_wait_for_a_broker_that_is_away_and_are_done_once_it_has_them(monkeypatch):
    class Away:
        def publish_again(self, dead: Any) -> bool:
            raise BrokerUnavailable("nobody listens")

        def close(self) -> None:
            pass

    class Back(Away):
        def publish_again(self, dead: Any) -> bool:
            return True

    letter = make_message_letter()
    operation = start("replay", {})
    monkeypatch.setattr(brokers, "connect", Away)
    advance()
    check_counts(operation)
    assert (operation.waiting, operation.verdict) == (1, "waits for the broker: nobody listens")
    monkeypatch.setattr(brokers, "connect", Back)
    advance()
    check_counts(operation)
    letter.refresh_from_db()
    assert (operation.state, operation.done, letter.state) == ("done", 1, "replayed")


def test_a_worker_that_dies_in_the_middle_has_sent_nothing(outbox, monkeypatch):
    make_letters(5)
    operation = start("replay", {}, steps=[])
    earlier(operation)
    replay = replaying.replay

    def die_at_the_third(letter_id: Any, *, seen: list[Any] = [], **options: Any) -> DeadLetter:  # noqa: B006
        seen.append(letter_id)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return replay(letter_id, **options)

    with monkeypatch.context() as patched:
        patched.setattr(replaying, "replay", die_at_the_third)
        with pytest.raises(KeyboardInterrupt), committed():
            advance()
    check_counts(operation)
    assert (operation.waiting, outbox, queued()) == (5, [], [])
    with committed():
        advance()
    check_counts(operation)
    assert (operation.waiting, len(outbox), len(queued())) == (0, 5, 5)


def test_paused_it_sends_nothing_and_still_hears_outcomes():
    make_letters(10)
    operation = start("replay", {})
    advance()
    operations.pause(operation.pk, requested_by="bob")
    fate(queued(), JobState.SUCCEEDED)
    advance()
    check_counts(operation)
    assert (operation.state, operation.verdict, operation.done, queued()) == ("paused", "paused by bob", 1, [])
    operations.resume(operation.pk, requested_by="bob")
    advance()
    assert len(queued()) == 5


def test_cancelled_it_leaves_what_it_has_not_sent_and_ends_with_the_last_outcome():
    make_letters(10)
    operation = start("replay", {})
    advance()
    operations.cancel(operation.pk, requested_by="bob")
    operation.refresh_from_db()
    assert (operation.state, operation.finished_at) == ("cancelled", None)
    fate(queued(), JobState.DEAD)
    advance()
    check_counts(operation)
    assert (operation.failed, operation.waiting, operation.verdict) == (1, 9, "cancelled by bob")
    assert operation.finished_at is not None
    assert DeadLetter.objects.filter(state="open").count() == 10


@pytest.mark.parametrize(
    ("state", "legal"),
    [("running", {"pause", "cancel"}), ("paused", {"resume", "cancel"}), ("stopped", set()), ("done", set())],
)
def test_what_can_be_done_depends_on_the_state(state, legal):
    make_letters(1)
    operation = start("replay", {})
    Operation.objects.filter(pk=operation.pk).update(state=state)
    for verb in ("pause", "resume", "cancel"):
        act = partial(getattr(operations, verb), operation.pk, requested_by="bob")
        with transaction.atomic():
            if verb in legal:
                act()
            else:
                with pytest.raises(IllegalTransition, match=f"can not {verb} it"):
                    act()
            Operation.objects.filter(pk=operation.pk).update(state=state)


def test_who_did_what_to_how_many_is_in_the_audit_trail():
    make_letters(3)
    operation = start("discard", {}, reason="a test run")
    operations.pause(operation.pk, requested_by="bob")
    operations.resume(operation.pk, requested_by="bob")
    operations.cancel(operation.pk, requested_by="eve")
    entries = AuditEntry.objects.order_by("id").values_list("actor", "verb", "count", "reason")
    assert list(entries) == [
        ("ada", "operations.start", 3, "a test run"),
        ("bob", "operations.pause", 3, ""),
        ("bob", "operations.resume", 3, ""),
        ("eve", "operations.cancel", 3, ""),
    ]
    assert list(audit.faults()) == []


def test_many_are_discarded_soon_after_the_commit_and_restored_in_the_same_order():
    letters = make_letters(700)
    before = list(DeadLetter.objects.values())
    with committed():
        operation = start("discard", {}, reason="a test run")
    check_counts(operation)
    assert (operation.state, operation.done) == ("done", 700)
    assert DeadLetter.objects.filter(state="discarded", discarded_by="ada", delete_at__isnull=False).count() == 700
    with committed():
        undo = start("restore", {"operation": str(operation.pk)})
    check_counts(undo)
    assert (undo.state, undo.done, undo.undoes) == ("done", 700, operation)
    assert list(DeadLetter.objects.values()) == before
    assert len(letters) == len(before)


@pytest.mark.parametrize(
    ("verb", "query", "options", "field"),
    [
        ("explode", {}, {}, "verb"),
        ("discard", {}, {}, "reason"),
        ("discard", {}, {"reason": " "}, "reason"),
        ("discard", {}, {"reason": "x" * 501}, "reason"),
        ("discard", {}, {"reason": "x", "steps": [1]}, "steps"),
        ("purge", {"queue": "work-queue"}, {}, "reason"),
        ("purge", {"queue": "no-queue"}, {"reason": "x"}, "queue"),
        ("purge", {"queue": "work-queue", "states": ["running"]}, {"reason": "x"}, "states"),
        ("unpurge", {"operation": "17"}, {}, "operation"),
        ("unpurge", {"operation": "018f0000-0000-7000-8000-000000000000"}, {}, "operation"),
        ("replay", {}, {"rate_per_second": -1}, "rate_per_second"),
        ("replay", {"task": "nothing.matches"}, {}, "query"),
        ("restore", {}, {}, "query"),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_name_of_its_field(verb, query, options, field):
    make_letters(1)
    with pytest.raises(InvalidJob) as refused:
        start(verb, query, **options)
    assert [problem["field"] for problem in refused.value.problems] == [field]
    assert not Operation.objects.exists()
    assert not AuditEntry.objects.exists()


def test_an_operation_of_nothing_but_blocked_letters_is_refused_with_the_reasons():
    letter_of(make_job(JobState.DEAD, task="gone.gone"))
    with pytest.raises(InvalidOperation, match="matches 1, and all would be left out: 1 unknown task"):
        start("replay", {})
    assert not OperationItem.objects.exists()


def test_what_there_was_no_time_to_look_at_is_left_out_when_its_turn_comes():
    make_ten_with_four_blockers()
    found = preflight.look("replay", {}, longest_seconds=0)
    assert (found.matched, found.judged, found.will) == (10, 0, 10)
    operation = start("replay", {}, steps=[], longest_seconds=0)
    assert operation.total == 10
    for _ in range(3):
        earlier(operation)
        advance()
    check_counts(operation)
    assert (operation.sent, sum(operation.skipped.values())) == (6, 4)


def test_items_whose_letters_are_pruned_meanwhile_hold_nothing_up():
    letters = make_letters(3)
    operation = start("replay", {}, steps=[1])
    advance()
    Job.objects.filter(pk__in=[letter.job_id for letter in letters]).delete()
    for _ in range(4):
        earlier(operation)
        advance()
    operation.refresh_from_db()
    assert (operation.state, operation.finished_at is not None) == ("done", True)


def test_progress_is_told_by_step():
    make_letters(50)
    operation = start("replay", {}, rate_per_second=2)
    for _ in range(3):
        advance()
        fate(queued(), JobState.SUCCEEDED)
    fate(queued(), JobState.SUCCEEDED)
    advance()
    earlier(operation)
    advance()
    fate(queued()[:1], JobState.DEAD)
    advance()
    told = operations.progress(Operation.objects.get(pk=operation.pk))
    assert {name: told[name] for name in ("state", "total", "sent", "running", "done", "failed", "waiting")} == {
        "state": "running", "total": 50, "sent": 33, "running": 1, "done": 31, "failed": 1, "waiting": 17
    }  # fmt: skip
    assert [step["size"] for step in told["steps"]] == [1, 5, 25, 19]
    assert [step["done"] for step in told["steps"]] == [1, 5, 25, 0]
    assert told["steps"][3] == {"step": 4, "size": 19, "sent": 2, "running": 1, "done": 0, "failed": 1}
    assert (told["rate_per_second"], told["eta_seconds"]) == (2, 8.5)
