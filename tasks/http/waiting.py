"""The Prefer header (RFC 7240): a caller who would rather wait a little than ask again."""

import re
from typing import Any

from django.http import HttpRequest, HttpResponse

from tasks import requests, waiting
from tasks.models import Job

MOST_SECONDS = 20  # less than a stopping web server grants to requests that have begun, and proxies to silent ones

_WAIT = re.compile(r'\s*wait\s*=\s*(?:"([0-9]+)"|([0-9]+))\s*(?:;.*)?', re.IGNORECASE)


def documented() -> dict[str, Any]:
    """The parameter, for ``openapi_extra``."""
    description = (
        f"`wait=N`: answer once the job has ended, or after N seconds, at most {MOST_SECONDS}. "
        "`Preference-Applied` says how long was waited at most; it is missing where nobody waited."
    )
    return {
        "name": "Prefer",
        "in": "header",
        "description": description,
        "schema": {"type": "string"},
        "example": "wait=5",
    }


def asked_seconds(request: HttpRequest) -> int:
    """How long the caller would wait, 0 to MOST_SECONDS. What can not be understood is as if it were not there; of
    several wishes the first counts."""
    for preference in request.META.get("HTTP_PREFER", "").split(","):
        if found := _WAIT.fullmatch(preference):
            digits = (found[1] or found[2]).lstrip("0")[:4]  # no number is too large to be cut down
            return min(int(digits or 0), MOST_SECONDS)
    return 0


def wait(job: Job, seconds: int) -> bool:
    """Wait for the job's end. False where nobody waited: none was asked for, the job is not due in time, or too many
    wait already."""
    if not seconds or not waiting.may_end_within(job, seconds):
        return False
    return job.is_final or waiting.wait(job.pk, seconds)


def wait_for_reply(job: Job, seconds: int, caller: str) -> bool:
    """As ``wait``, for the ``caller`` who has asked for the job and is seen at the desk of requests."""
    if not seconds or not waiting.may_end_within(job, seconds):
        return False
    return job.is_final or requests.wait(job, seconds, requested_by=caller, correlation_id=job.correlation_id)


def tell(response: HttpResponse, seconds: int) -> None:
    response["Preference-Applied"] = f"wait={seconds}"
