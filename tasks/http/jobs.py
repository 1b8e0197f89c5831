"""/jobs: accept one, read one, list them."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Router
from ninja.errors import AuthorizationError
from pydantic import Field

from tasks.dead_letters.masking import Mask
from tasks.http import accepting, body, freshness, idempotency, paging, query, waiting
from tasks.http.accepting import answer_accepted, enqueue_for
from tasks.http.access import allowed, caller_of, may
from tasks.http.masking import mask_for
from tasks.http.paging import PageOut, PageQuery, answer_page, cursor_of
from tasks.http.query import Moment, Text
from tasks.http.schemas import JobIn, JobOut, JobSummary, answer, shown, summary
from tasks.http.visibility import visible
from tasks.job_lists import JobFilter, list_jobs
from tasks.models import Job
from tasks.states import JobState

router = Router(tags=["jobs"])


class JobsQuery(PageQuery):
    state: JobState | None = None
    task: Text | None = Field(None, description="Under any name that it has had.")
    queue: Text | None = None
    batch: UUID | None = None
    correlation_id: Text | None = None
    requested_by: Text | None = Field(None, description="Yourself, unless you may see the jobs of others.")
    created_after: Moment | None = Field(None, description="This moment included.")
    created_before: Moment | None = Field(None, description="This moment not included.")


@router.post(
    "/jobs",
    response={200: JobOut, 202: JobOut},
    auth=allowed("jobs.enqueue"),
    summary="Accept a job",
    openapi_extra=accepting.documented(JobIn),
)
def create_job(request: HttpRequest) -> HttpResponse:
    """The job is durable when this answers, whether or not the broker can be reached. 200 says that it has ended by
    then, however it did (`state`): only who prefers to wait is answered so."""
    job = body.read(request, JobIn)
    digest = idempotency.digest_of(job) if idempotency.HEADER_META in request.META else ""
    return answer_accepted(request, enqueue_for(request, job.task, job.payload, job, digest=digest))


@router.get(
    "/jobs",
    response=PageOut[JobSummary],
    auth=allowed("jobs.view"),
    summary="List jobs",
    openapi_extra=paging.documented(JobsQuery),
)
def list_of_jobs(request: HttpRequest) -> HttpResponse:
    """The newest first, without payload, result and metadata; what is somebody else's only for who may see it."""
    given = query.read(request, JobsQuery)
    caller = caller_of(request)
    if not may(request, "jobs.view_all") and given.requested_by not in (None, caller):
        raise AuthorizationError(message="what others asked for is seen with the scope jobs:read_all")
    owner = given.requested_by if may(request, "jobs.view_all") else caller
    wanted = given.model_dump(exclude={"limit", "cursor"}, exclude_none=True) | {"requested_by": owner or ""}
    found = list_jobs(JobFilter(**wanted), limit=given.limit, cursor=cursor_of(given, UUID))
    return answer_page(request, found, lambda job: summary(job, _mask_of_texts(request, job)))


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
    """The job, for a caller who may see it. Raises Http404 where there is none, or it is somebody else's."""
    job = visible(request, Job.objects.all()).filter(pk=job_id).first()
    if job is None:
        raise Http404(f"there is no job {job_id}")
    return job


def _mask_of_texts(request: HttpRequest, job: Job) -> Mask | None:
    """Most jobs of a list say nothing that could quote their payload, which then need not be read."""
    return mask_for(request, job) if job.error or job.progress_note else None
