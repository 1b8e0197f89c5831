"""Past help: a job becomes dead, with its letter, in one transaction."""

from typing import Any

from django.db import transaction

from tasks.models import DeadLetter, Job, error_summary
from tasks.states import JobState
from tasks.transitions import change


def bury(
    job: Job,
    source: JobState,
    *,
    reason: str,
    error_type: str = "",
    error: str = "",
    traceback: str = "",
    **evidence: Any,
) -> bool:
    """Move ``job`` from ``source`` to dead with its DeadLetter, in one transaction. False when it has moved on.

    A job that dies while it is queued dies of the attempt that its message asks for, though that never began: its
    number is burnt, so that neither the message nor what becomes of it is taken for another's after a replay.
    """
    never_began = source == JobState.QUEUED
    with transaction.atomic():
        if not change(
            job.pk,
            source=source,
            target=JobState.DEAD,
            attempt=job.attempt,
            burn=never_began,
            detail={"reason": reason, "error": error_summary(error_type, error)},
            error=error_summary(error_type, error),
            due_at=None,
        ):
            return False
        DeadLetter.objects.create(
            job=job,
            attempt=job.attempt + never_began,
            reason=reason,
            task=job.task,
            queue=job.queue,
            error_type=error_type,
            error=error,
            traceback=traceback,
            **evidence,
        )
    return True
