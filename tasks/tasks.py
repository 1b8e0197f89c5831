"""Jobs of the platform itself."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core import mail
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, TextField
from django.db.models.functions import Cast, Now
from django.utils import timezone
from django_celery_results.models import TaskResult
from pydantic import BaseModel, Field

from tasks.context import JobContext
from tasks.models import Batch, DeadLetter, Job, Operation, ParkedJob, WorkerProcess
from tasks.payloads import takes_files
from tasks.registry import registry, task
from tasks.states import JobState
from tasks.uploads import UPLOADS, old_uploads
from tasks.webhooks import delivery

BATCH = 500
_UPLOAD = re.compile(rf"{UPLOADS}/\d+/\d+/[A-Za-z0-9._-]+")  # as tasks.uploads names them


class PrunePayload(BaseModel):
    """What to prune."""

    older_than_days: int | None = Field(
        None, ge=1, title="Older than (days)", description="Empty: as long as RETAIN_JOBS_DAYS says."
    )


@task("platform.prune", payload=PrunePayload, title="Prune")
def prune(payload: PrunePayload, context: JobContext) -> dict[str, int]:
    """Delete succeeded and cancelled jobs past their retention, with attempts and history; and discarded dead letters
    past theirs, with their jobs. Other dead jobs are kept, and so is what a purge took while it can be put back. Then
    go the uploads of months past that no job names any more."""
    age = timedelta(days=payload.older_than_days or settings.TASKS_RETAIN_JOBS_DAYS)
    horizon = Now() - age
    ParkedJob.objects.filter(delete_at__lte=Now()).delete()
    ended = Q(state__in=[JobState.SUCCEEDED, JobState.CANCELLED], finished_at__lt=horizon, parked=None)
    due = DeadLetter.objects.filter(state=DeadLetter.State.DISCARDED, delete_at__lte=Now())
    deleted = 0
    for which in (ended, Q(state=JobState.DEAD, pk__in=due.values("job"))):  # not one query: each has its own index
        while ids := list(Job.objects.filter(which).values_list("pk", flat=True)[:BATCH]):
            context.checkpoint()
            deleted += _delete(ids, which)
            context.progress(deleted, note="jobs deleted")
    due.filter(job=None).delete()
    undoable = Q(
        verb=Operation.Verb.DISCARD, finished_at__gte=Now() - timedelta(days=settings.TASKS_DEAD_LETTER_KEEP_DAYS)
    )
    Operation.objects.filter(~undoable, finished_at__lt=horizon, parked=None).delete()
    WorkerProcess.objects.filter(seen_at__lt=horizon).delete()
    Batch.objects.filter(~Exists(Job.objects.filter(batch=OuterRef("pk"))), created_at__lt=horizon).delete()
    return {"jobs_deleted": deleted, "uploads_deleted": _prune_uploads(age, context)}


def _prune_uploads(age: timedelta, context: JobContext) -> int:
    deleted = 0
    for folder, names in old_uploads(timezone.now() - age):
        context.checkpoint()
        named = _named_by_jobs(folder) if names else set()
        for name in names:
            if name not in named:
                default_storage.delete(name)
                deleted += 1
    return deleted


def _named_by_jobs(folder: str) -> set[str]:
    """The files of the folder that jobs name wherever in their payloads: a dead one may be replayed."""
    tasks = [name for spec in registry if takes_files(spec.payload) for name in spec.names]
    jobs = Job.objects.filter(task__in=tasks).annotate(text=Cast("payload", TextField()))
    texts = jobs.filter(text__contains=f"{folder}/").values_list("text", flat=True)
    return {name for text in texts.iterator() for name in _UPLOAD.findall(text)}


class MailAdminsPayload(BaseModel):
    """A mail to whom ADMINS names."""

    subject: str = Field(max_length=200)
    text: str


@task("platform.mail_admins", payload=MailAdminsPayload, title="Mail the admins")
def mail_admins(payload: MailAdminsPayload, context: JobContext) -> None:
    """Send an alert of the platform to ADMINS."""
    subject = " ".join(payload.subject.split())  # one line, or a mail would have headers of an error's making
    context.once("mail", lambda: mail.mail_admins(subject, payload.text))


@task(
    delivery.TASK,
    payload=delivery.DeliveryPayload,
    retry=delivery.RETRY,
    time_limit_seconds=delivery.TIME_LIMIT_SECONDS,
    title="Deliver a webhook",
)
def deliver_webhook(payload: delivery.DeliveryPayload, context: JobContext) -> dict[str, Any]:
    """Tell an endpoint of an outcome, for about a day until it takes it."""
    return delivery.deliver(payload, context)


def _delete(ids: Sequence[UUID], which: Q) -> int:
    """Jobs, their attempts and their history, if they are ``which`` still. How many they were.

    Held first, since no constraint of the database refuses an event without its job: whoever tells one of a job whose
    row it does not change holds the row as well, so it is told before this or not at all. And so are their letters:
    one that is just being restored keeps its job.
    """
    with transaction.atomic():
        jobs = Job.objects.filter(pk__in=ids)
        list(jobs.select_for_update().order_by("pk").values_list("pk"))
        list(DeadLetter.objects.filter(job__in=ids).select_for_update().order_by("pk").values_list("pk"))
        gone = list(jobs.filter(which).values_list("pk", "attempt"))
        attempts = [f"{job_id}.{number}" for job_id, last in gone for number in range(1, last + 1)]
        TaskResult.objects.filter(task_id__in=attempts).delete()
        Job.objects.filter(pk__in=[job_id for job_id, _ in gone]).delete()
    return len(gone)
