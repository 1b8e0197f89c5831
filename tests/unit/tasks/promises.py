"""What must hold of a job at any moment, whatever was done to it. Asked of rows alone, so any test may ask."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from celery import states
from django_celery_results.models import TaskResult

from tasks.models import DeadLetter, Job, JobEvent
from tasks.registry import registry
from tasks.states import FINAL, LEGAL_CHANGES, JobState
from tests.unit.tasks.factories import told

STATUS = {
    JobState.SUCCEEDED: states.SUCCESS,
    JobState.RETRYING: states.RETRY,
    JobState.CANCELLED: states.REVOKED,
    JobState.DEAD: states.FAILURE,
}

LIVES_AGAIN = {JobEvent.Kind.REPLAYED, JobEvent.Kind.RESTORED}


@dataclass
class Life:
    """All that is known of one job: its row, its history, its letters, and the recorded status of each attempt.

    Events and letters have the names of their models' fields, as far as they are asked for; whole models cost too much.
    """

    row: dict[str, Any]
    events: list[Any] = field(default_factory=list)
    letters: list[Any] = field(default_factory=list)
    results: dict[int, str] = field(default_factory=dict)

    @property
    def state(self) -> JobState:
        return JobState(self.row["state"])

    @property
    def attempt(self) -> int:
        return self.row["attempt"]

    def changes(self) -> Iterator[tuple[JobState | None, Any, JobState]]:
        """Each change of state in the history: from what, by which event, to what."""
        source = None
        for event in self.events:
            if target := told([event])["state"]:
                yield source, event, JobState(target)
                source = JobState(target)


def lives_of(ids: Iterable[UUID]) -> dict[UUID, Life]:
    """Of the jobs that there are among ``ids``, in four queries."""
    lives = {row["id"]: Life(row) for row in Job.objects.filter(pk__in=ids).values()}
    events = JobEvent.objects.filter(job__in=lives).order_by("id")
    for event in events.values_list("pk", "job_id", "kind", "attempt", "detail", named=True):
        lives[event.job_id].events.append(event)
    letters = DeadLetter.objects.filter(job__in=lives).order_by("id")
    for letter in letters.values_list("pk", "job_id", "state", "attempt", named=True):
        lives[letter.job_id].letters.append(letter)
    for task_id, status in TaskResult.objects.values_list("task_id", "status"):
        job_id, attempt = task_id.rsplit(".", 1)
        if UUID(job_id) in lives:
            lives[UUID(job_id)].results[int(attempt)] = status
    return lives


def check(life: Life, before: Life | None = None) -> None:
    """AssertionError where a promise is broken. ``before`` is the same job at an earlier moment."""
    _check_row(life)
    _check_history(life)
    _check_attempts(life)
    _check_letters(life)
    if before is not None:
        _check_change(before, life)


def _check_row(life: Life) -> None:
    row = life.row
    assert row["attempt_base"] <= row["attempt"], "more attempts are forgiven than were made"
    assert (row["finished_at"] is not None) == (life.state in FINAL), "finished is not final"
    if row["cancel_requested_at"]:
        assert life.state in FINAL | {JobState.RUNNING}, "a job that is to stop waits for another attempt"
    if life.state == JobState.SUCCEEDED:
        assert row["result"] == {"attempt": row["attempt"]}, "the result is another attempt's"


def _check_history(life: Life) -> None:
    """Only legal changes, of which at most one between two replays or restores is the last; no attempt's number comes
    twice."""
    history, row = told(life.events), {name: life.row[name] for name in told([])}
    assert history == row, f"the history tells of {history}, the row is {row}"
    latest_attempt, finals = 0, 0
    for source, event, target in life.changes():
        legal = LEGAL_CHANGES[source] if source else {JobState.SCHEDULED, JobState.QUEUED}
        assert target in legal, f"{source} became {target}"
        if target == JobState.RUNNING:
            assert event.attempt > latest_attempt, "an attempt's number was used again"
            latest_attempt = event.attempt
        finals = 0 if event.kind in LIVES_AGAIN else finals + (target in FINAL)
        assert finals <= 1, "a job ended twice"


def _check_attempts(life: Life) -> None:
    """Each attempt has one outcome at most, which is the one recorded, and no life has more than the policy allows."""
    outcomes: dict[int, JobState] = {}
    spent = 0
    for source, event, target in life.changes():
        if event.kind == JobEvent.Kind.REPLAYED:
            spent = 0
        elif source == JobState.RUNNING and target != JobState.QUEUED:
            assert event.attempt not in outcomes, "an attempt has two outcomes"
            outcomes[event.attempt] = target
            spent += 1
            assert spent <= registry.get(life.row["task"]).retry.max_attempts, "more attempts than the policy allows"
    counted = {attempt: status for attempt, status in life.results.items() if status != states.IGNORED}
    expected = {attempt: STATUS[state] for attempt, state in outcomes.items()}
    assert counted == expected, f"recorded are {counted}, the history tells of {expected}"


def _check_letters(life: Life) -> None:
    open_letters = [letter.attempt for letter in life.letters if letter.state == DeadLetter.State.OPEN]
    discarded = [letter.attempt for letter in life.letters if letter.state == DeadLetter.State.DISCARDED]
    expected = [life.attempt] if life.state == JobState.DEAD and not discarded else []
    assert discarded in ([], [life.attempt]), f"a job at attempt {life.attempt} has discarded letters of {discarded}"
    assert open_letters == expected, f"a job that is {life.state} has open letters of attempts {open_letters}"


def _check_change(before: Life, now: Life) -> None:
    """History only grows, and what has ended stays as it is until somebody replays it."""
    known, added = now.events[: len(before.events)], now.events[len(before.events) :]
    assert known == before.events, "history was rewritten"
    if before.state in FINAL and not LIVES_AGAIN & {event.kind for event in added}:
        assert now.row == before.row, "a job changed after its end"
