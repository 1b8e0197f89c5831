"""/jobs: accept one, read one."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Router

from tasks.dispatch import enqueue
from tasks.http import body, idempotency
from tasks.http.access import allowed
from tasks.http.schemas import JobIn, JobOut, answer, shown
from tasks.http.visibility import visible
from tasks.models import Job

router = Router(tags=["jobs"])


@router.post(
    "/jobs",
    response={202: JobOut},
    auth=allowed("jobs.enqueue"),
    summary="Accept a job",
    openapi_extra={
        **idempotency.documented("The same key for the same task answers with the same job."),
        **body.documented(JobIn),
    },
)
def create_job(request: HttpRequest) -> HttpResponse:
    """The job is durable when this answers, whether or not the broker can be reached."""
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
    return answer(shown(accepted), status=202, location=f"/api/v1/jobs/{accepted.pk}")


@router.get("/jobs/{uuid:job_id}", response=JobOut, auth=allowed("jobs.view"), summary="Read a job")
def read_job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    return answer(shown(readable_job(request, job_id)))


def readable_job(request: HttpRequest, job_id: UUID) -> Job:
    """The job, for a caller who may see it. Raises Http404 where there is none, or it is somebody else's."""
    job = visible(request, Job.objects.all()).filter(pk=job_id).first()
    if job is None:
        raise Http404(f"there is no job {job_id}")
    return job
