"""/jobs/{id}/events and /attempts: what happened to a job."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import Field
from typing_extensions import TypedDict

from tasks.attempts import Attempt, attempts_of
from tasks.dead_letters.masking import Mask
from tasks.http import paging, query
from tasks.http.access import allowed, may
from tasks.http.jobs import readable_job
from tasks.http.masking import mask_for
from tasks.http.paging import PageOut, PageQuery, answer_page, cursor_of
from tasks.models import JobEvent
from tasks.seeking import Cursor, Page, page

STATUSES = {
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
    "RETRY": "retried",
    "REVOKED": "cancelled",
    "IGNORED": "late",
    "STARTED": "running",
    "HANDED_BACK": "handed_back",
    "NEVER_BEGAN": "never_began",
    "UNKNOWN": "unknown",
}
"""The API's words for the outcome of an attempt."""

router = Router(tags=["jobs"])


class EventOut(TypedDict):
    kind: Annotated[str, Field(examples=["queued", "running", "retrying", "succeeded"])]
    attempt: Annotated[int, Field(description="The attempt it is about; 0 before the first.")]
    at: datetime
    detail: dict[str, Any]


class AttemptOut(TypedDict):
    number: Annotated[int, Field(description="From 1.")]
    status: Annotated[
        Literal[
            "succeeded", "failed", "retried", "cancelled", "late", "running", "handed_back", "never_began", "unknown"
        ],
        Field(description="`retried` failed and had an attempt left; `late` ended when it did not count any more."),
    ]
    worker: str
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float | None
    error: Annotated[str, Field(description="Type and first line.")]
    traceback: Annotated[str | None, Field(description="None for who may not see the jobs of others.")]
    log: Annotated[str | None, Field(description="What a process that was lost had written last; None likewise.")]


@router.get(
    "/jobs/{uuid:job_id}/events",
    response=PageOut[EventOut],
    auth=allowed("jobs.view"),
    summary="What happened to a job",
    openapi_extra=paging.documented(PageQuery),
)
def list_events(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """The oldest first."""
    given = query.read(request, PageQuery)
    job = readable_job(request, job_id)
    events, mask = JobEvent.objects.filter(job=job), mask_for(request, job)
    found = page(events, limit=given.limit, cursor=cursor_of(given, int), newest_first=False)
    sees_inside = may(request, "jobs.view_all")
    return answer_page(request, found, lambda event: _shown_event(event, sees_inside, mask))


@router.get(
    "/jobs/{uuid:job_id}/attempts",
    response=PageOut[AttemptOut],
    auth=allowed("jobs.view"),
    summary="Each run of a job",
    openapi_extra=paging.documented(PageQuery),
)
def list_attempts(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """The latest first."""
    given = query.read(request, PageQuery)
    job, cursor = readable_job(request, job_id), cursor_of(given, int)
    numbers = _numbers(job.attempt, given.limit, cursor)
    sees_inside, mask = may(request, "jobs.view_all"), mask_for(request, job)
    found = Page(
        attempts_of(job, numbers),
        next=Cursor(numbers[-1]) if numbers and numbers[-1] > 1 else None,
        previous=Cursor(numbers[0], forward=False) if numbers and numbers[0] < job.attempt else None,
    )
    return answer_page(request, found, lambda attempt: _shown_attempt(attempt, sees_inside, mask))


def _numbers(latest: int, limit: int, cursor: Cursor | None) -> range:
    """Those of a page, descending."""
    if cursor is None:
        first = latest
    elif cursor.forward:
        first = min(cursor.key - 1, latest)
    else:
        first = min(cursor.key + limit, latest)
    return range(first, max(0, first - limit), -1)


def _shown_event(event: JobEvent, sees_inside: bool, mask: Mask | None) -> EventOut:
    detail = {name: value for name, value in event.detail.items() if sees_inside or name != "evidence"}
    return {
        "kind": event.kind,
        "attempt": event.attempt,
        "at": event.at,
        "detail": mask.anywhere(detail) if mask else detail,
    }


def _shown_attempt(attempt: Attempt, sees_inside: bool, mask: Mask | None) -> AttemptOut:
    text = mask.text if mask else str
    return {
        "number": attempt.number,
        "status": STATUSES.get(attempt.status, "unknown"),  # type: ignore[typeddict-item]
        "worker": attempt.worker,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "seconds": attempt.seconds,
        "error": text(attempt.error),
        "traceback": text(attempt.traceback) if sees_inside else None,
        "log": text(attempt.log) if sees_inside else None,
    }
