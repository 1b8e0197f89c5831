"""Outcome -> one transaction -> acknowledgement."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from celery import states
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from django_celery_results.models import TaskResult

from tasks.dead_letters import bury
from tasks.models import Job, JobEvent, error_summary
from tasks.states import JobState
from tasks.transitions import change
from tasks.worker.outcome import Outcome


@dataclass(frozen=True)
class Ended:
    """An attempt that is over. ``job`` is the row as it was claimed."""

    job: Job
    outcome: Outcome
    worker_name: str


def record(ended: Sequence[Ended]) -> list[JobState | None]:
    """The state each job went to, or None where the outcome came too late to count. All in one transaction.

    Only the attempt that the row is at can change it: a late or duplicate one is told in the job's history and no more.
    """
    now = timezone.now()
    with transaction.atomic():
        reached = [_move(attempt) for attempt in ended]
        # An attempt already recorded as lost keeps that record.
        TaskResult.objects.bulk_create(
            (_task_result(attempt, state, now) for attempt, state in zip(ended, reached, strict=True)),
            ignore_conflicts=True,
        )
    return reached


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


def _task_result(ended: Ended, state: JobState | None, now: datetime) -> TaskResult:
    """The attempt as django-celery-results knows it, so that each keeps its own error, worker and times."""
    job, outcome = ended.job, ended.outcome
    shown = outcome.result if outcome.succeeded else {"exc_type": outcome.error_type, "exc_message": outcome.error}
    return TaskResult(
        task_id=f"{job.pk}.{job.attempt}",
        task_name=job.task,
        status=_STATUS[state],
        worker=ended.worker_name[:100],
        content_type="application/json",
        content_encoding="utf-8",
        result=json.dumps(shown),
        traceback=outcome.traceback or None,
        meta=json.dumps({"evidence": outcome.evidence}) if outcome.evidence else None,
        date_started=job.started_at,
        date_done=now,
    )
