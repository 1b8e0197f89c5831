"""Periodic jobs of the platform itself."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.core import mail
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from django_celery_results.models import TaskResult
from pydantic import BaseModel, Field

from tasks.context import JobContext
from tasks.models import Batch, Job, WorkerProcess
from tasks.registry import task
from tasks.states import JobState

BATCH = 500


class PrunePayload(BaseModel):
    """What to prune."""

    older_than_days: int | None = Field(
        None, ge=1, title="Older than (days)", description="Empty: as long as RETAIN_JOBS_DAYS says."
    )


@task("platform.prune", payload=PrunePayload, title="Prune")
def prune(payload: PrunePayload, context: JobContext) -> dict[str, int]:
    """Delete succeeded and cancelled jobs past their retention, with attempts and history. Dead jobs are kept."""
    horizon = Now() - timedelta(days=payload.older_than_days or settings.TASKS_RETAIN_JOBS_DAYS)
    finished = Job.objects.filter(state__in=[JobState.SUCCEEDED, JobState.CANCELLED], finished_at__lt=horizon)
    deleted = 0
    while ids := list(finished.values_list("pk", "attempt")[:BATCH]):
        context.checkpoint()
        attempts = [f"{job_id}.{number}" for job_id, last in ids for number in range(1, last + 1)]
        TaskResult.objects.filter(task_id__in=attempts).delete()
        _delete([job_id for job_id, _ in ids])
        deleted += len(ids)
        context.progress(deleted, note="jobs deleted")
    WorkerProcess.objects.filter(seen_at__lt=horizon).delete()
    Batch.objects.filter(~Exists(Job.objects.filter(batch=OuterRef("pk"))), created_at__lt=horizon).delete()
    return {"jobs_deleted": deleted}


class MailAdminsPayload(BaseModel):
    """A mail to whom ADMINS names."""

    subject: str = Field(max_length=200)
    text: str


@task("platform.mail_admins", payload=MailAdminsPayload, title="Mail the admins")
def mail_admins(payload: MailAdminsPayload, context: JobContext) -> None:
    """Send an alert of the platform to ADMINS."""
    subject = " ".join(payload.subject.split())  # one line, or a mail would have headers of an error's making
    context.once("mail", lambda: mail.mail_admins(subject, payload.text))


def _delete(ids: Sequence[UUID]) -> None:
    """Jobs and their history. Held first, since no constraint of the database refuses an event without its job: whoever
    tells one of a job whose row it does not change holds the row as well, so it is told before this or not at all."""
    with transaction.atomic():
        jobs = Job.objects.filter(pk__in=ids)
        list(jobs.select_for_update().order_by("pk").values_list("pk"))
        jobs.delete()
