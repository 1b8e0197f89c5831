"""/jobs: accept one, read one."""

from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import Router

from tasks.dispatch import enqueue
from tasks.http import body, freshness, idempotency, waiting
from tasks.http.access import allowed
from tasks.http.masking import mask_for
from tasks.http.schemas import JobIn, JobOut, answer, shown
from tasks.models import Job

router = Router(tags=["jobs"])


@router.post(
    "/jobs",
    response={200: JobOut, 202: JobOut},
    auth=allowed("jobs.enqueue"),
    summary="Accept a job",
    openapi_extra={
        "parameters": [
            *idempotency.documented("The same key for the same task answers with the same job.")["parameters"],
            waiting.documented(),
        ],
        **body.documented(JobIn),
    },
)
def create_job(request: HttpRequest) -> HttpResponse:
    """The job is durable when this answers, whether or not the broker can be reached. 200 says that it has ended by
    then, however it did (`state`): only who prefers to wait is answered so."""
    job = body.read(request, JobIn)
    accepted = enqueue(
        job.task,
        job.payload,
        priority=job.priority,
        delay_seconds=job.delay_seconds,
        run_at=job.run_at,
        expires_at=job.expires_at,
        correlation_id=job.correlation_id,
        metadata=job.metadata,
        idempotency_key=idempotency.key_of(request),
        requested_by=request.auth,  # type: ignore[attr-defined]  # set by ninja: what the authenticator returned
    )
    location, seconds = f"/api/v1/jobs/{accepted.pk}", waiting.asked_seconds(request)
    waited = waiting.wait(accepted, seconds)
    known = _latest(accepted) if waited else accepted
    response = answer(
        shown(known, mask_for(request, known)), status=200 if waited and known.is_final else 202, location=location
    )
    if waited:
        waiting.tell(response, seconds)
    freshness.set_retry_after(response, known)
    return response


@router.get(
    "/jobs/{uuid:job_id}",
    response=JobOut,
    auth=allowed("jobs.view"),
    summary="Read a job",
    openapi_extra={
        **freshness.documented(),
        "parameters": [*freshness.documented()["parameters"], waiting.documented()],
    },
)
def read_job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """With `If-None-Match` it is 304 where nothing is new. `Retry-After` says when to ask again, until it has ended."""
    job, seconds = readable_job(request, job_id), waiting.asked_seconds(request)
    waited = not job.is_final and waiting.wait(job, seconds)
    if waited:
        job = readable_job(request, job_id)
    response = freshness.conditional(request, answer(shown(job, mask_for(request, job))))
    if waited:
        waiting.tell(response, seconds)
    freshness.set_retry_after(response, job)
    return response


def readable_job(request: HttpRequest, job_id: UUID) -> Job:
    """The job, for a caller who may read it. Raises Http404 where there is none."""
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        raise Http404(f"there is no job {job_id}")
    return job


def _latest(accepted: Job) -> Job:
    """The job as it is by now; as it was, where the database is away: it was accepted all the same."""
    try:
        return Job.objects.filter(pk=accepted.pk).first() or accepted
    except (OperationalError, InterfaceError):
        return accepted
