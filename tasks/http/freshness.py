"""For callers who ask again and again: whether anything is new, and when to ask next."""

import math
from datetime import datetime
from hashlib import blake2b
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.http import parse_etags

from tasks.models import Job
from tasks.states import JobState

SHORTEST_SECONDS, LONGEST_SECONDS = 1, 30


def documented() -> dict[str, Any]:
    """For ``openapi_extra`` of an operation whose answer is ``conditional``."""
    known = {
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag of the answer that the caller has.",
        "schema": {"type": "string"},
    }
    return {"parameters": [known], "responses": {304: {"description": "Nothing is new."}}}


def conditional(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """``response`` with its ETag; or 304, without a body, to a caller who has it already.

    The tag is of the very bytes, so it can neither miss a change nor tell of one that is none.
    """
    etag = f'"{blake2b(response.content, digest_size=12).hexdigest()}"'
    if known := request.META.get("HTTP_IF_NONE_MATCH"):
        tags = [tag.removeprefix("W/") for tag in parse_etags(known)]
        if etag in tags or "*" in tags:
            headers = {name: value for name, value in response.items() if name.lower() != "content-type"}
            response = HttpResponse(status=304, headers=headers)
            del response["Content-Type"]
    response["ETag"] = etag
    response["Cache-Control"] = "private, no-cache"
    return response


def set_retry_after(response: HttpResponse, job: Job) -> None:
    if seconds := retry_after_seconds(job, timezone.now()):
        response["Retry-After"] = str(seconds)


def retry_after_seconds(job: Job, now: datetime) -> int | None:
    """When to ask for ``job`` again: what is left of it by its own progress, or else half of what it has taken so far;
    1 to 30. None once it has ended."""
    if job.is_final:
        return None
    return max(SHORTEST_SECONDS, min(LONGEST_SECONDS, math.ceil(_expected_seconds(job, now))))


def _expected_seconds(job: Job, now: datetime) -> float:
    if job.state in (JobState.SCHEDULED, JobState.RETRYING) and job.due_at:
        return (job.due_at - now).total_seconds()
    since = job.started_at if job.state == JobState.RUNNING else job.queued_at
    elapsed = (now - since).total_seconds() if since else 0.0
    if job.state == JobState.RUNNING and job.progress_total and job.progress_done:
        return elapsed * max(0, job.progress_total - job.progress_done) / job.progress_done
    return elapsed / 2
