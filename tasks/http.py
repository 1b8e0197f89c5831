"""HTTP door to jobs. Thin: each operation is one call of a service."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Field, Header, Router, Schema
from ninja.errors import AuthorizationError, HttpError
from ninja.security import HttpBearer, SessionAuth

from tasks.dispatch import enqueue
from tasks.models import ApiToken, Job
from tasks.registry import registry

SCOPES = {"jobs:read": "tasks.view_job", "jobs:write": "tasks.add_job"}
LAST_USED_PAUSE_SECONDS = 60


class Token(HttpBearer):
    """A bearer token that carries ``scope``. The caller is then `token:<name>`."""

    def __init__(self, scope: str):
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> str | None:
        found = ApiToken.objects.filter(digest=ApiToken.digest_of(token)).first()
        now = timezone.now()
        if found is None or (found.expires_at and found.expires_at <= now):
            return None
        if not found.allows(self.scope, now=now):
            raise AuthorizationError(message=f"the token lacks the scope {self.scope}")
        if not found.last_used_at or (now - found.last_used_at).total_seconds() > LAST_USED_PAUSE_SECONDS:
            ApiToken.objects.filter(pk=found.pk).update(last_used_at=now)
        return f"token:{found.name}"


class StaffSession(SessionAuth):
    """The session of a staff user with the permission that matches ``scope``; unsafe methods need the CSRF token."""

    def __init__(self, scope: str):
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> str | None:
        if "Authorization" in request.headers:  # a bad token is a bad token, not a missing CSRF token
            return None
        return super().__call__(request) if request.user.is_authenticated else None

    def authenticate(self, request: HttpRequest, key: str | None) -> str | None:
        user = request.user
        if not user.is_staff:
            return None
        if not user.has_perm(SCOPES[self.scope]):
            raise AuthorizationError(message=f"the user lacks the permission {SCOPES[self.scope]}")
        return user.get_username()


def allowed(scope: str) -> list[Any]:
    """Who may call an operation: a token first, since it needs no session."""
    return [Token(scope), StaffSession(scope)]


class JobIn(Schema, extra="forbid"):
    task: str = Field(max_length=200, examples=["email.send"])
    payload: dict[str, Any] = Field(default_factory=dict, description="What the task's schema asks for.")
    priority: Literal["normal", "high"] = "normal"
    delay_seconds: float | None = Field(None, ge=0, allow_inf_nan=False)
    run_at: datetime | None = Field(None, description="With a time zone. Instead of delay_seconds.")
    expires_at: datetime | None = Field(None, description="Not begun by then, the job is buried.")
    correlation_id: str = Field("", max_length=200)
    metadata: dict[str, Any] = Field(default_factory=dict)


class Progress(Schema):
    done: int
    total: int | None
    percent: int | None
    note: str


class JobOut(Schema):
    id: UUID
    task: str
    state: str
    queue: str
    priority: str
    attempt: int
    max_attempts: int | None = Field(description="None when this build does not know the task.")
    progress: Progress
    payload: dict[str, Any]
    result: Any
    error: str
    correlation_id: str
    idempotency_key: str | None
    requested_by: str
    metadata: dict[str, Any]
    created_at: datetime
    queued_at: datetime | None
    due_at: datetime | None
    expires_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None

    @staticmethod
    def resolve_max_attempts(job: Job) -> int | None:
        return job.attempt_base + registry.get(job.task).retry.max_attempts if job.task in registry else None

    @staticmethod
    def resolve_progress(job: Job) -> dict[str, Any]:
        return {
            "done": job.progress_done,
            "total": job.progress_total,
            "percent": job.progress_percent,
            "note": job.progress_note,
        }


router = Router(tags=["jobs"])


@router.post("/jobs", response={202: JobOut}, auth=allowed("jobs:write"), summary="Accept a job")
def create_job(
    request: HttpRequest,
    response: HttpResponse,
    job: JobIn,
    idempotency_key: Annotated[str | None, Header(None, alias="Idempotency-Key", min_length=1, max_length=200)] = None,
) -> tuple[int, Job]:
    """The job is durable when this answers, whether or not the broker can be reached."""
    if request.content_type != "application/json":
        raise HttpError(415, "the body is application/json")
    accepted = enqueue(
        job.task,
        job.payload,
        priority=job.priority,
        delay_seconds=job.delay_seconds,
        run_at=job.run_at,
        expires_at=job.expires_at,
        correlation_id=job.correlation_id,
        metadata=job.metadata,
        idempotency_key=idempotency_key,
        requested_by=request.auth,  # type: ignore[attr-defined]  # set by ninja: what the authenticator returned
    )
    response["Location"] = f"/api/v1/jobs/{accepted.pk}"
    return 202, accepted


@router.get("/jobs/{uuid:job_id}", response=JobOut, auth=allowed("jobs:read"), summary="Read a job")
def read_job(request: HttpRequest, job_id: UUID) -> Job:
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        raise Http404(f"there is no job {job_id}")
    return job
