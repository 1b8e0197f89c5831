"""Every error of the HTTP API is a problem of RFC 9457, with a stable type."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, AuthorizationError, HttpError, ValidationError

from tasks.api import IllegalTransition, InvalidJob, TooLarge, UnknownTask


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
    "too-large": ProblemType(413, "Too large", "Store the data and send its name; see the limit in the detail."),
    "unsupported-media-type": ProblemType(415, "Wrong content type", "Send `Content-Type: application/json`."),
    "invalid": ProblemType(422, "Not valid", "Each entry of `errors` names a field and what is wrong with it."),
    "unavailable": ProblemType(503, "The database can not be reached", "Nothing was accepted. Send it again later."),
    "internal": ProblemType(500, "A fault of ours", "It was logged. Nothing was accepted unless a job says so."),
}
RETRY_AFTER_SECONDS = 5
_SLUG_BY_STATUS = {kind.status: slug for slug, kind in reversed(PROBLEM_TYPES.items())}  # the first of equals


def problem(
    request: HttpRequest, slug: str, detail: str = "", *, status: int | None = None, **members: Any
) -> HttpResponse:
    """The answer for ``slug`` of PROBLEM_TYPES; ``members`` are added to the body."""
    kind = PROBLEM_TYPES[slug]
    body = {
        "type": f"/api/v1/problems/{slug}",
        "title": kind.title,
        "status": status or kind.status,
        "detail": detail or kind.remedy,
        "instance": request.path,
        **members,
    }
    response = JsonResponse(body, status=body["status"], content_type="application/problem+json")
    if slug == "unavailable":
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if slug == "unauthenticated":
        response["WWW-Authenticate"] = "Bearer"
    return response


class ProblemMiddleware:
    """What Django answers by itself under /api/ (no such address, wrong method, a crash) is a problem as well."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        told = response.headers.get("Content-Type", "").startswith("application/problem+json")
        if response.status_code < 400 or told or not request.path.startswith("/api/"):
            return response
        slug = _SLUG_BY_STATUS.get(response.status_code, "internal")
        answer = problem(request, slug, status=response.status_code)
        if "Allow" in response.headers:
            answer["Allow"] = response["Allow"]
        return answer


def add_problem_handlers(api: NinjaAPI) -> None:
    """Answer every exception of ``api`` with its problem."""

    @api.exception_handler(InvalidJob)
    def invalid_job(request: HttpRequest, error: InvalidJob) -> HttpResponse:
        return problem(
            request,
            "too-large" if isinstance(error, TooLarge) else "invalid",
            str(error) if isinstance(error, (UnknownTask, TooLarge)) else "",
            errors=[{"field": fault["field"], "detail": fault["message"]} for fault in error.problems],
        )

    @api.exception_handler(ValidationError)
    def invalid_request(request: HttpRequest, error: ValidationError) -> HttpResponse:
        # Ninja's places begin with where the value came from and the parameter's name; neither is the caller's word.
        errors = [
            {"field": ".".join(map(str, fault["loc"][2:])) or str(fault["loc"][0]), "detail": fault["msg"]}
            for fault in error.errors
        ]
        return problem(request, "invalid", errors=errors)

    @api.exception_handler(AuthenticationError)
    def unauthenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
        return problem(request, "unauthenticated")

    @api.exception_handler(AuthorizationError)
    def forbidden(request: HttpRequest, error: AuthorizationError) -> HttpResponse:
        return problem(request, "forbidden", error.message)

    @api.exception_handler(Http404)
    def not_found(request: HttpRequest, error: Http404) -> HttpResponse:
        return problem(request, "not-found", str(error))

    @api.exception_handler(IllegalTransition)
    def conflict(request: HttpRequest, error: IllegalTransition) -> HttpResponse:
        return problem(request, "conflict", str(error))

    @api.exception_handler(RequestDataTooBig)
    def too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
        return problem(request, "too-large", str(error))

    @api.exception_handler(HttpError)
    def other(request: HttpRequest, error: HttpError) -> HttpResponse:
        slug = "malformed" if error.status_code == 400 else _SLUG_BY_STATUS.get(error.status_code, "internal")
        return problem(request, slug, error.message, status=error.status_code)

    @api.exception_handler(OperationalError)
    @api.exception_handler(InterfaceError)
    def unavailable(request: HttpRequest, error: DatabaseError) -> HttpResponse:
        return problem(request, "unavailable")
