"""What people do to jobs: cancel and replay. Admin, HTTP and commands are doors over these."""

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from tasks import audit
from tasks.dead_letters import replaying
from tasks.errors import IllegalTransition
from tasks.models import Job, JobEvent
from tasks.states import JobState
from tasks.transitions import change

WAITING = (JobState.SCHEDULED, JobState.QUEUED, JobState.RETRYING)


def cancel(job_id: UUID, *, requested_by: str = "") -> Job:
    """The job, cancelled at once while it waits, or marked so that it stops at its next checkpoint while it runs.
    Where somebody requests it, it is in the audit trail; what was marked already is not there twice.

    Raises Job.DoesNotExist, and IllegalTransition when the job has ended.
    """
    detail = {"requested_by": requested_by}
    with transaction.atomic():
        if change(job_id, source=WAITING, target=JobState.CANCELLED, detail=detail, due_at=None):
            return _recorded(Job.objects.get(pk=job_id), requested_by)
        job = Job.objects.select_for_update().get(pk=job_id)
        if job.state in WAITING:  # it came to rest between the two looks; now it is held
            change(job_id, source=WAITING, target=JobState.CANCELLED, detail=detail, due_at=None)
            return _recorded(Job.objects.get(pk=job_id), requested_by)
        if job.is_final:
            raise IllegalTransition(f"the job is {job.state} and can not be cancelled")
        if job.cancel_requested_at is None:
            job.cancel_requested_at = timezone.now()
            job.save(update_fields=["cancel_requested_at"])
            JobEvent.objects.create(job=job, kind=JobEvent.Kind.CANCEL_REQUESTED, attempt=job.attempt, detail=detail)
            _recorded(job, requested_by)
        return job


def replay(job_id: UUID, *, requested_by: str = "", queue: str = "", task: str = "") -> Job:
    """The dead job, queued again with a fresh count of attempts; its open dead letter is marked replayed.

    ``queue`` and ``task`` send it elsewhere; where they say nothing, standing redirects do. Raises Job.DoesNotExist;
    IllegalTransition when the job is not dead; InvalidJob, and nothing has changed, when it can not go there.
    """
    return replaying.replay_job(job_id, requested_by=requested_by, queue=queue, task=task)


def _recorded(job: Job, cancelled_by: str) -> Job:
    """In the transaction that cancelled it. Who has no name is a process, and leaves an event alone."""
    if cancelled_by:
        audit.record(cancelled_by, "jobs.cancel", f"job {job.pk}", detail={"task": job.task, "state": job.state})
    return job
