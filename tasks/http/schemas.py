"""What the API takes and shows. What it takes is checked; what it shows are our own rows, written out as they are."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpResponse
from pydantic import BaseModel, BeforeValidator, Field
from pydantic.fields import FieldInfo
from pydantic_core import to_json
from typing_extensions import TypedDict

from tasks.dead_letters.masking import Mask
from tasks.http.query import PLAIN
from tasks.models import Batch, Job
from tasks.registry import registry
from tasks.states import FINAL, JobState, Priority


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("is text, like 2026-01-31T08:00:00Z")
    return value


Moment = Annotated[datetime, BeforeValidator(_text)]
"""Not a number, which would be seconds to some and milliseconds to others."""


class JobOptions(BaseModel, extra="forbid"):
    """When and how a job runs: what every door that accepts one takes beside the work itself."""

    priority: Literal["normal", "high"] = "normal"
    delay_seconds: float | None = Field(None, ge=0, allow_inf_nan=False, strict=True)
    run_at: Moment | None = Field(None, description="With a time zone. Instead of delay_seconds.")
    expires_at: Moment | None = Field(None, description="Not begun by then, the job is buried.")
    correlation_id: str = Field("", max_length=200, pattern=PLAIN)
    metadata: dict[str, Any] = Field(default_factory=dict, description="Yours; at most 16 KiB of JSON.")


class _Work(BaseModel):
    task: str = Field(max_length=200, examples=["email.send"])
    payload: dict[str, Any] = Field(
        default_factory=dict,
        description="What the task's schema asks for.",
        examples=[{"to": ["ann@example.com"], "subject": "Hello", "text": "It works."}],
    )


class JobIn(JobOptions, _Work):
    """Any task, by its name."""


class Progress(TypedDict):
    done: int
    total: int | None
    percent: int | None
    note: str


def _one_of(values: list[str]) -> FieldInfo:
    return Field(json_schema_extra={"enum": list(values)})


class JobSummary(TypedDict):
    id: UUID
    task: str
    state: Annotated[str, _one_of(JobState.values)]
    queue: str
    priority: Annotated[str, _one_of(Priority.values)]
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


def shown(job: Job, mask: Mask | None = None) -> JobOut:
    """The job, without what ``mask`` hides."""
    payload, result, metadata = job.payload, job.result, job.metadata
    if mask:
        payload, result, metadata = mask.payload(job.task, payload), mask.anywhere(result), mask.anywhere(metadata)
    return {**summary(job, mask), "payload": payload, "result": result, "metadata": metadata}


def summary(job: Job, mask: Mask | None = None) -> JobSummary:
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
            "note": mask.text(job.progress_note) if mask else job.progress_note,
        },
        "error": mask.text(job.error) if mask else job.error,
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


def shown_batch(batch: Batch, counts: Mapping[str, int] | None = None) -> BatchOut:
    """``counts`` by state, where they are known already."""
    found = batch.progress() if counts is None else counts
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


def payload_of(given: JobOptions) -> dict[str, Any]:
    """The members of ``given`` that are no options: the payload, where a task's model was made an operation's body."""
    return given.model_dump(mode="json", exclude=set(JobOptions.model_fields), exclude_unset=True)


def answer(body: Any, *, status: int = 200, location: str = "") -> HttpResponse:
    """``body`` as JSON. Ninja would validate it first, which costs more than all else that a request needs."""
    headers = {"Location": location} if location else None
    return HttpResponse(to_json(body), content_type="application/json", status=status, headers=headers)
