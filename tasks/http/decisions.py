"""/jobs/{id}/cancel and /replay: what a caller decides about a job."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Router

from tasks import jobs
from tasks.http.access import allowed, caller_of
from tasks.http.jobs import readable_job
from tasks.http.masking import mask_for
from tasks.http.schemas import JobOut, answer, shown

router = Router(tags=["jobs"])


@router.post(
    "/jobs/{uuid:job_id}/cancel",
    response={200: JobOut, 202: JobOut},
    auth=allowed("jobs.cancel"),
    summary="Cancel a job",
)
def cancel_job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """200: it is cancelled. 202: it runs, and stops at its next checkpoint, if it has one. 409: it has ended."""
    readable_job(request, job_id)
    job = jobs.cancel(job_id, requested_by=caller_of(request))
    return answer(shown(job, mask_for(request, job)), status=200 if job.is_final else 202)


@router.post(
    "/jobs/{uuid:job_id}/replay",
    response={202: JobOut},
    auth=allowed("dead_letters.replay"),
    summary="Replay a dead job",
)
def replay_job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """It is queued again, with the payload it has and a fresh count of attempts. 409: it is not dead."""
    readable_job(request, job_id)
    job = jobs.replay(job_id, requested_by=caller_of(request))
    return answer(shown(job, mask_for(request, job)), status=202, location=f"/api/v1/jobs/{job_id}")
