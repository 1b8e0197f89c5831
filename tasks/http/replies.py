"""/replies: what came too late for whoever waited, and /requests: how those who wait are served."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Router
from pydantic import Field
from typing_extensions import TypedDict

from tasks import requests
from tasks.http import freshness
from tasks.http.access import allowed, caller_of
from tasks.http.masking import mask_for
from tasks.http.schemas import JobOut, answer, shown
from tasks.models import Request

router = Router(tags=["requests"])


class LatencyOut(TypedDict):
    task: str
    replies: int
    p50: Annotated[float, Field(description="Seconds from the request to the reply; half were faster.")]
    p95: float
    p99: float


class DeskOut(TypedDict):
    waiting: Annotated[int, Field(description="Callers who are owed an outcome.")]
    oldest_at: datetime | None
    timed_out: Annotated[int, Field(description="Of the last hour: they gave up.")]
    undeliverable: Annotated[int, Field(description="Of the last hour: their queue was gone.")]
    unfetched: Annotated[int, Field(description="Late replies of the last hour that nobody has fetched.")]
    latencies: list[LatencyOut]


@router.get("/requests", response=DeskOut, auth=allowed("requests.view"), summary="How callers are served")
def read_desk(request: HttpRequest) -> HttpResponse:
    return answer(asdict(requests.desk()))


@router.get(
    "/replies/{correlation_id}",
    response={200: JobOut, 202: None},
    auth=allowed("jobs.view"),
    summary="Fetch a late reply",
)
def read_reply(request: HttpRequest, correlation_id: str) -> HttpResponse:
    """The job that you waited for under this correlation id, once it has ended; 202 until then, with `Retry-After`.
    Nobody else's: 404 where you have asked for nothing with it."""
    try:
        job = requests.late_reply(correlation_id, requested_by=caller_of(request))
    except Request.DoesNotExist as error:
        raise Http404(str(error)) from None
    if job is None:
        response = HttpResponse(status=202)
        response["Retry-After"] = "1"
        return response
    response = answer(shown(job, mask_for(request, job)))
    freshness.set_retry_after(response, job)
    return response
