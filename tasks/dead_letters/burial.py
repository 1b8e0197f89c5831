"""Past help: a job becomes dead, with its letter, in one transaction."""

from typing import Any

from django.conf import settings
from django.db import transaction

from tasks.dead_letters.grouping import group_of
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
        keep(
            DeadLetter(
                job=job,
                attempt=job.attempt + never_began,
                reason=reason,
                task=job.task,
                queue=job.queue,
                payload=job.payload,
                error_type=error_type,
                error=error,
                traceback=traceback,
                **evidence,
            )
        )
    return True


def keep(letter: DeadLetter) -> None:
    """Insert ``letter``, with this build's release and its group."""
    letter.release = settings.TASKS_RELEASE
    with transaction.atomic():
        letter.group_id = group_of(letter)
        letter.save(force_insert=True)
