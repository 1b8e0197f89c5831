"""Every error of the HTTP API becomes a problem: Django's, ninja's and the platform's."""

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, AuthorizationError, HttpError, Throttled, ValidationError

from tasks.errors import (
    BrokerUnavailable,
    IllegalTransition,
    InvalidJob,
    KeyInUse,
    RehearsalUnavailable,
    TaskPlatformError,
)
from tasks.http.problems import of_invalid_job, problem, respond, slug_of


class ProblemMiddleware:
    """What Django answers by itself under /api/ (no such address, wrong method, a crash) is a problem as well."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        told = response.headers.get("Content-Type", "").startswith("application/problem+json")
        if response.status_code < 400 or told or not request.path.startswith("/api/"):
            return response
        answer = problem(request, slug_of(response.status_code), status=response.status_code)
        if "Allow" in response.headers:
            answer["Allow"] = response["Allow"]
        return answer


def add_problem_handlers(api: NinjaAPI) -> None:
    """Answer every exception of ``api`` with its problem."""

    @api.exception_handler(InvalidJob)
    def invalid_job(request: HttpRequest, error: InvalidJob) -> HttpResponse:
        return respond(of_invalid_job(error, request.path))

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

    @api.exception_handler(BrokerUnavailable)
    @api.exception_handler(RehearsalUnavailable)
    def busy(request: HttpRequest, error: TaskPlatformError) -> HttpResponse:
        return problem(request, "busy", str(error))

    @api.exception_handler(KeyInUse)
    def still_running(request: HttpRequest, error: KeyInUse) -> HttpResponse:
        answer = problem(request, "still-running", str(error))
        answer["Retry-After"] = "1"
        return answer

    @api.exception_handler(RequestDataTooBig)
    def too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        return problem(request, "too-large", f"the body has more than {limit:,} bytes, which is MAX_BODY_BYTES")

    @api.exception_handler(Throttled)
    def too_many(request: HttpRequest, error: Throttled) -> HttpResponse:
        answer = problem(
            request, "too-many-requests", f"the token's requests of this minute are spent for {error.wait} s"
        )
        answer["Retry-After"] = str(error.wait)
        return answer

    @api.exception_handler(HttpError)
    def other(request: HttpRequest, error: HttpError) -> HttpResponse:
        slug = "malformed" if error.status_code == 400 else slug_of(error.status_code)
        return problem(request, slug, error.message, status=error.status_code)

    @api.exception_handler(OperationalError)
    @api.exception_handler(InterfaceError)
    def unavailable(request: HttpRequest, error: DatabaseError) -> HttpResponse:
        return problem(request, "unavailable")
