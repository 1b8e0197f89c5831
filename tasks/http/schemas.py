"""What the API takes and shows. What it takes is checked; what it shows are our own rows, written out as they are."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpResponse
from pydantic import BaseModel, Field
from pydantic_core import to_json
from typing_extensions import TypedDict

from tasks.http.query import PLAIN
from tasks.models import Batch, Job
from tasks.registry import registry
from tasks.states import FINAL, JobState


class JobIn(BaseModel, extra="forbid"):
    task: str = Field(max_length=200, examples=["email.send"])
    payload: dict[str, Any] = Field(default_factory=dict, description="What the task's schema asks for.")
    priority: Literal["normal", "high"] = "normal"
    delay_seconds: float | None = Field(None, ge=0, allow_inf_nan=False)
    run_at: datetime | None = Field(None, description="With a time zone. Instead of delay_seconds.")
    expires_at: datetime | None = Field(None, description="Not begun by then, the job is buried.")
    correlation_id: str = Field("", max_length=200, pattern=PLAIN)
    metadata: dict[str, Any] = Field(default_factory=dict)


class Progress(TypedDict):
    done: int
    total: int | None
    percent: int | None
    note: str


class JobSummary(TypedDict):
    id: UUID
    task: str
    state: str
    queue: str
    priority: str
    attempt: int
    max_attempts: Annotated[int | None, Field(description="None when this build does not know the task.")]
    progress: Progress
    error: str
    correlation_id: str
    idempotency_key: str | None
    requested_by: str
    batch: UUID | None
    created_at: datetime
    queued_at: datetime | None
    due_at: datetime | None
    expires_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


class JobOut(JobSummary):
    payload: dict[str, Any]
    result: Any
    metadata: dict[str, Any]


def shown(job: Job) -> JobOut:
    return {**summary(job), "payload": job.payload, "result": job.result, "metadata": job.metadata}


def summary(job: Job) -> JobSummary:
    return {
        "id": job.id,
        "task": job.task,
        "state": job.state,
        "queue": job.queue,
        "priority": job.priority,
        "attempt": job.attempt,
        "max_attempts": job.attempt_base + registry.get(job.task).retry.max_attempts if job.task in registry else None,
        "progress": {
            "done": job.progress_done,
            "total": job.progress_total,
            "percent": job.progress_percent,
            "note": job.progress_note,
        },
        "error": job.error,
        "correlation_id": job.correlation_id,
        "idempotency_key": job.idempotency_key,
        "requested_by": job.requested_by,
        "batch": job.batch_id,
        "created_at": job.created_at,
        "queued_at": job.queued_at,
        "due_at": job.due_at,
        "expires_at": job.expires_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


class BatchSummary(TypedDict):
    id: UUID
    name: str
    total: Annotated[int, Field(description="Jobs it was made with.")]
    requested_by: str
    created_at: datetime


class BatchOut(BatchSummary):
    jobs: Annotated[dict[str, int], Field(description="How many of its jobs are in each state.")]
    unfinished: Annotated[int, Field(description="How many of them have yet to end.")]


def summary_of_batch(batch: Batch) -> BatchSummary:
    return {
        "id": batch.id,
        "name": batch.name,
        "total": batch.total,
        "requested_by": batch.requested_by,
        "created_at": batch.created_at,
    }


def shown_batch(batch: Batch) -> BatchOut:
    found = batch.progress()
    jobs = {state.value: found.get(state, 0) for state in JobState}
    return {
        "id": batch.id,
        "name": batch.name,
        "total": batch.total,
        "jobs": jobs,
        "unfinished": sum(count for state, count in jobs.items() if state not in FINAL),
        "requested_by": batch.requested_by,
        "created_at": batch.created_at,
    }


def answer(body: Any, *, status: int = 200, location: str = "") -> HttpResponse:
    """``body`` as JSON. Ninja would validate it first, which costs more than all else that a request needs."""
    headers = {"Location": location} if location else None
    return HttpResponse(to_json(body), content_type="application/json", status=status, headers=headers)
