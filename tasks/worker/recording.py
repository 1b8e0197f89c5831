"""Outcome -> one transaction. Successes, the common end, are recorded many at once; every other end by itself."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final, Literal

from celery import states
from django.db import (
    DatabaseError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)
from django.db.models.functions import Now
from django.utils import timezone
from django_celery_results.models import TaskResult

from tasks.dead_letters.burial import bury
from tasks.models import DeadLetter, Job, JobEvent, error_summary
from tasks.states import JobState
from tasks.transitions import change
from tasks.worker.grouped import GroupStatement
from tasks.worker.outcome import Outcome

logger = logging.getLogger(__name__)

# The database is away, busy, or not as this build expects it: a table that a migration has yet to change, a prepared
# statement whose plan is out of date. A new connection and time may help. DataError and all else are a row's own fault.
OUTAGE = (OperationalError, InterfaceError, ProgrammingError, NotSupportedError, InternalError)
GROUP_CHARS = 4_000_000
HELD: Final = "held"
Reached = JobState | Literal["held"] | None
"""The state a job went to; None where the outcome came too late to count; HELD where it is to be tried again, since
somebody's transaction holds the row or the database has just gone away."""


@dataclass(frozen=True)
class Ended:
    """An attempt that is over. ``job`` is the row as it was claimed."""

    job: Job
    outcome: Outcome
    worker_name: str

    @property
    def attempt_id(self) -> str:
        """Celery's id of the attempt."""
        return f"{self.job.pk}.{self.job.attempt}"


def record(ended: Sequence[Ended]) -> list[Reached]:
    """What each outcome came to. Only the attempt that the row is at can change it: a late or duplicate one is told in
    the job's history and no more. Nobody waits for a row, and what fails for one costs no other."""
    reached: dict[str, Reached] = {}
    try:
        for group in _groups([each for each in ended if each.outcome.succeeded]):
            _succeed(group, reached)
    except OUTAGE as error:
        _let_go(error)
        return [reached.get(each.attempt_id, HELD) for each in ended]
    # Of an outcome that is given twice the first counts.
    return [reached.pop(each.attempt_id) if each.attempt_id in reached else _record_alone(each) for each in ended]


_SUCCEED = GroupStatement(
    given={"id": "uuid", "attempt": "integer", "task_id": "text", "result": "json"},
    update="""
        UPDATE tasks_job SET state = 'succeeded', result = given.result, error = '', progress_note = '',
               finished_at = {now}
        FROM given WHERE tasks_job.id = given.id AND tasks_job.attempt = given.attempt AND tasks_job.id IN (
            SELECT job.id FROM tasks_job job JOIN given ON job.id = given.id AND job.attempt = given.attempt
            WHERE job.state = 'running' {unless_held}
        )
    """,
    returning={"id": "uuid", "attempt": "integer", "task": "text", "started_at": "moment"},
    answer=["id", "attempt"],
    then=[
        """
        INSERT INTO tasks_jobevent (job_id, kind, attempt, at, detail)
        SELECT id, 'succeeded', attempt, {now}, '{{}}' FROM changed
        """,
        # An attempt already recorded as lost keeps that record.
        """
        INSERT INTO django_celery_results_taskresult
               (task_id, task_name, status, worker, content_type, content_encoding, result,
                date_created, date_started, date_done)
        SELECT given.task_id, changed.task, 'SUCCESS', %(worker)s, 'application/json', 'utf-8',
               COALESCE(CAST(given.result AS text), 'null'), {now}, changed.started_at, {now}
        FROM changed JOIN given ON changed.id = given.id AND changed.attempt = given.attempt WHERE true
        ON CONFLICT DO NOTHING
        """,
    ],
)


@dataclass(frozen=True)
class _Success:
    """``ended`` with its result as JSON."""

    ended: Ended
    result: str | None

    @property
    def row(self) -> tuple[Any, ...]:
        """As _SUCCEED is given it."""
        job = self.ended.job
        return job.pk, job.attempt, self.ended.attempt_id, self.result


def _groups(ended: Sequence[Ended]) -> Iterator[list[_Success]]:
    """Of no more than GROUP_CHARS each: what is sent as one text is unpacked in one piece by the database."""
    group, chars = list[_Success](), 0
    for each in ended:
        success = _Success(each, None if each.outcome.result is None else json.dumps(each.outcome.result))
        chars += len(success.result or "")
        if group and chars > GROUP_CHARS:
            yield group
            group, chars = [], len(success.result or "")
        group.append(success)
    if group:
        yield group


def _succeed(group: Sequence[_Success], reached: dict[str, Reached]) -> None:
    """Note what became of them in ``reached``, by attempt: nothing where one came too late, or its row is held."""
    try:
        moved = _SUCCEED.run([success.row for success in group], worker=group[0].ended.worker_name[:100])
    except OperationalError as error:
        if connection.vendor != "postgresql" or not connection.is_usable():
            raise
        if len(group) > 1:  # something in particular is refused, and must not hold up the others
            middle = len(group) // 2
            _succeed(group[:middle], reached)
            _succeed(group[middle:], reached)
        else:
            _let_go(error)
            reached[group[0].ended.attempt_id] = HELD
    except OUTAGE:
        raise
    except DatabaseError as error:
        logger.warning("%d outcomes are recorded one by one: %s", len(group), error)
    else:
        reached |= {f"{id}.{attempt}": JobState.SUCCEEDED for id, attempt in moved}


def _record_alone(ended: Ended) -> Reached:
    try:
        with transaction.atomic():
            return _record(ended)
    except OUTAGE as error:
        _let_go(error)
        return HELD
    except Exception as error:
        logger.exception("the outcome of %s can not be recorded", ended.attempt_id)
        return _record_unrecordable(ended, error)


def _record_unrecordable(ended: Ended, error: Exception) -> Reached:
    """An outcome that no row can hold still ends its job, and never keeps its slot of the prefetch window."""
    outcome = Outcome.of_error(error, None, 1, reason=DeadLetter.Reason.PERMANENT)
    try:
        with transaction.atomic():
            return _record(replace(ended, outcome=outcome))
    except Exception:
        logger.exception("the attempt %s is left to supervision", ended.attempt_id)
        return JobState.DEAD


def _record(ended: Ended) -> Reached:
    if _is_held(ended.job):
        return HELD
    reached = _move(ended)
    # An attempt already recorded as lost keeps that record.
    TaskResult.objects.bulk_create([_task_result(ended, reached)], ignore_conflicts=True)
    return reached


def _is_held(job: Job) -> bool:
    """Whether somebody's transaction holds the row; if not, this one does now."""
    if not connection.features.has_select_for_update_skip_locked:
        return False
    row = Job.objects.filter(pk=job.pk).values_list("pk")
    return not list(row.select_for_update(skip_locked=True, no_key=True)) and row.exists()


def _let_go(error: Exception) -> None:
    """Of a connection that may be dead: the next statement makes another."""
    logger.warning("outcomes wait for the database: %s", str(error).strip())
    if not connection.in_atomic_block:
        connection.close()


def _move(ended: Ended) -> JobState | None:
    job, outcome = ended.job, ended.outcome
    move = partial(change, job.pk, source=JobState.RUNNING, attempt=job.attempt)
    message = error_summary(outcome.error_type, outcome.error)
    seen = {"evidence": outcome.evidence} if outcome.evidence else {}
    lost = {"reason": outcome.reason} if outcome.lost else {}
    if outcome.succeeded:
        target = JobState.SUCCEEDED
        moved = move(target=target, result=outcome.result, error="", progress_note="")
    elif outcome.cancelled or (outcome.retry_in_seconds is not None and _cancel_requested(job)):
        target = JobState.CANCELLED
        moved = move(target=target, detail=lost, error=message)
    elif outcome.retry_in_seconds is not None:
        target = JobState.RETRYING
        moved = move(
            target=target,
            detail={"error": message, "delay_seconds": round(outcome.retry_in_seconds, 3), **lost, **seen},
            due_at=Now() + timedelta(seconds=outcome.retry_in_seconds),
            error=message,
        )
    else:
        target = JobState.DEAD
        moved = bury(
            job,
            JobState.RUNNING,
            reason=outcome.reason,
            error_type=outcome.error_type,
            error=outcome.error,
            traceback=outcome.traceback,
            **seen,
        )
    if moved:
        if outcome.lost or (target == JobState.RETRYING and job.lost_deliveries):  # in a row: an outcome ends it
            in_a_row = job.lost_deliveries + 1 if outcome.lost else 0
            Job.objects.filter(pk=job.pk).update(lost_deliveries=in_a_row)
        return target
    if not Job.objects.filter(pk=job.pk).exists():
        return None  # pruned meanwhile; there is no history to tell it in
    detail = {"worker": ended.worker_name, "outcome": "succeeded" if outcome.succeeded else message}
    JobEvent.objects.bulk_create(
        [JobEvent(job_id=job.pk, kind=JobEvent.Kind.DUPLICATE, attempt=job.attempt, detail=detail)]
    )
    return None


def _cancel_requested(job: Job) -> bool:
    return Job.objects.filter(pk=job.pk, cancel_requested_at__isnull=False).exists()


_STATUS = {
    JobState.SUCCEEDED: states.SUCCESS,
    JobState.RETRYING: states.RETRY,
    JobState.CANCELLED: states.REVOKED,
    JobState.DEAD: states.FAILURE,
    None: states.IGNORED,
}


def _task_result(ended: Ended, state: JobState | None) -> TaskResult:
    """The attempt as django-celery-results knows it, so that each keeps its own error, worker and times."""
    job, outcome = ended.job, ended.outcome
    shown = outcome.result if outcome.succeeded else {"exc_type": outcome.error_type, "exc_message": outcome.error}
    return TaskResult(
        task_id=ended.attempt_id,
        task_name=job.task,
        status=_STATUS[state],
        worker=ended.worker_name[:100],
        content_type="application/json",
        content_encoding="utf-8",
        result=json.dumps(shown),
        traceback=outcome.traceback or None,
        meta=json.dumps({"evidence": outcome.evidence}) if outcome.evidence else None,
        date_started=job.started_at,
        date_done=timezone.now(),
    )
