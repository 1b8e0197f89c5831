"""What people do to jobs: cancel and replay. Admin, HTTP and commands are doors over these."""

from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from tasks.dispatch import publish_on_commit
from tasks.errors import IllegalTransition
from tasks.models import DeadLetter, Job, JobEvent
from tasks.states import JobState
from tasks.transitions import change

WAITING = (JobState.SCHEDULED, JobState.QUEUED, JobState.RETRYING)


def cancel(job_id: UUID, *, requested_by: str = "") -> Job:
    """The job, cancelled at once while it waits, or marked so that it stops at its next checkpoint while it runs.

    Raises Job.DoesNotExist, and IllegalTransition when the job has ended.
    """
    detail = {"requested_by": requested_by}
    with transaction.atomic():
        if change(job_id, source=WAITING, target=JobState.CANCELLED, detail=detail, due_at=None):
            return Job.objects.get(pk=job_id)
        job = Job.objects.select_for_update().get(pk=job_id)
        if job.state in WAITING:  # it came to rest between the two looks; now it is held
            change(job_id, source=WAITING, target=JobState.CANCELLED, detail=detail, due_at=None)
            return Job.objects.get(pk=job_id)
        if job.is_final:
            raise IllegalTransition(f"the job is {job.state} and can not be cancelled")
        if job.cancel_requested_at is None:
            job.cancel_requested_at = timezone.now()
            job.save(update_fields=["cancel_requested_at"])
            JobEvent.objects.create(job=job, kind=JobEvent.Kind.CANCEL_REQUESTED, attempt=job.attempt, detail=detail)
        return job


def replay(job_id: UUID, *, requested_by: str = "") -> Job:
    """The dead job, queued again with a fresh count of attempts; its letter, open or discarded, is marked replayed.

    Raises Job.DoesNotExist, and IllegalTransition when the job is not dead.
    """
    now = timezone.now()
    with transaction.atomic():
        moved = change(
            job_id,
            source=JobState.DEAD,
            target=JobState.QUEUED,
            kind=JobEvent.Kind.REPLAYED,
            detail={"requested_by": requested_by},
            attempt_base=F("attempt"),
            lost_deliveries=0,
            queued_at=Now(),
            due_at=None,
            finished_at=None,
            expires_at=None,
            cancel_requested_at=None,
            worker=None,
            error="",
        )
        job = Job.objects.get(pk=job_id)
        if not moved:
            raise IllegalTransition(f"the job is {job.state}; only a dead job can be replayed")
        DeadLetter.objects.filter(job=job).exclude(state=DeadLetter.State.REPLAYED).update(
            state=DeadLetter.State.REPLAYED, replayed_at=now, replayed_by=requested_by, delete_at=None
        )
        publish_on_commit([job])
    return job
