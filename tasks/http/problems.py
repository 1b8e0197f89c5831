"""The errors of the HTTP API, as RFC 9457 has them: a stable type, and what the caller can do about it."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from tasks.errors import InvalidJob, TooLarge, UnknownTask


@dataclass(frozen=True)
class ProblemType:
    """``remedy`` is what the caller can do; shown under the type's own address."""

    status: int
    title: str
    remedy: str


PROBLEM_TYPES: dict[str, ProblemType] = {
    "bad-request": ProblemType(400, "Not understood", "Check the address, the Host header and the headers you send."),
    "malformed": ProblemType(400, "The body is not JSON", "Send one JSON object, encoded as UTF-8."),
    "unauthenticated": ProblemType(
        401, "Who are you?", "Send `Authorization: Bearer <token>`; `manage.py token create` makes one."
    ),
    "forbidden": ProblemType(403, "Not allowed", "The token lacks the scope, or the user the permission, named."),
    "not-found": ProblemType(404, "Not found", "Check the address and the id."),
    "method-not-allowed": ProblemType(405, "Method not allowed", "See the documentation of this address."),
    "conflict": ProblemType(409, "Not possible in the present state", "Read the job again and decide anew."),
    "still-running": ProblemType(
        409, "The first request with this key still runs", "Send the same again after `Retry-After` seconds."
    ),
    "too-large": ProblemType(413, "Too large", "Store the data and send its name; see the limit in the detail."),
    "unsupported-media-type": ProblemType(415, "Wrong content type", "Send `Content-Type: application/json`."),
    "invalid": ProblemType(422, "Not valid", "Each entry of `errors` names a field and what is wrong with it."),
    "too-many-requests": ProblemType(
        429, "Too many requests", "Wait as long as `Retry-After` says; `RateLimit` tells what is left, in every answer."
    ),
    "too-many-streams": ProblemType(429, "Too many streams", "Close some, follow a batch as a whole, or poll."),
    "busy": ProblemType(
        503, "Not now", "Nothing was changed; the detail says what is away or busy. Send it again later."
    ),
    "unavailable": ProblemType(503, "The database can not be reached", "Nothing was accepted. Send it again later."),
    "no-answer": ProblemType(
        503, "No API server answers", "It may have been accepted all the same: send it again with its Idempotency-Key."
    ),
    "internal": ProblemType(500, "A fault of ours", "It was logged. Nothing was accepted unless a job says so."),
}
RETRY_AFTER_SECONDS = 5
_SLUG_BY_STATUS = {kind.status: slug for slug, kind in reversed(PROBLEM_TYPES.items())}  # the first of equals


def slug_of(status: int) -> str:
    """The problem type of an answer with this status."""
    return _SLUG_BY_STATUS.get(status, "internal")


def description(
    slug: str, instance: str, detail: str = "", *, status: int | None = None, **members: Any
) -> dict[str, Any]:
    """The problem of type ``slug`` that happened at ``instance``; ``members`` are added to it."""
    kind = PROBLEM_TYPES[slug]
    return {
        "type": f"/api/v1/problems/{slug}",
        "title": kind.title,
        "status": status or kind.status,
        "detail": detail or kind.remedy,
        "instance": instance,
        **members,
    }


def of_invalid_job(error: InvalidJob, instance: str) -> dict[str, Any]:
    """The description of a job that was refused."""
    return description(
        "too-large" if isinstance(error, TooLarge) else "invalid",
        instance,
        str(error) if isinstance(error, (UnknownTask, TooLarge)) else "",
        errors=[{"field": fault["field"], "detail": fault["message"]} for fault in error.problems],
    )


def problem(
    request: HttpRequest, slug: str, detail: str = "", *, status: int | None = None, **members: Any
) -> HttpResponse:
    """The answer to ``request`` that describes the problem."""
    return respond(description(slug, request.path, detail, status=status, **members))


def respond(described: dict[str, Any]) -> HttpResponse:
    response = JsonResponse(described, status=described["status"], content_type="application/problem+json")
    if described["status"] in (429, 503):
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if described["status"] == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response
