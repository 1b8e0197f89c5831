"""What endpoints are told: the bodies of messages, version 1. A field may be added; none changes its meaning or goes
without a new version.

Payloads and results are left out: what they hold may be nobody's business, and whoever has the right can read the job.
"""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from tasks.dead_letters.masking import Mask
from tasks.models import Batch, Job, JobEvent, WebhookEndpoint
from tasks.states import JobState

VERSION = 1
MAX_ERROR = 500

Event = WebhookEndpoint.Event

TYPE_OF: dict[str, str] = {
    JobEvent.Kind.SUCCEEDED: Event.JOB_SUCCEEDED,
    JobEvent.Kind.DEAD: Event.JOB_DEAD,
    JobEvent.Kind.CANCELLED: Event.JOB_CANCELLED,
    JobEvent.Kind.PURGED: Event.JOB_CANCELLED,
}
"""By the kind of a JobEvent that ends a job, what it is called outside."""

_STATE_OF = {
    Event.JOB_SUCCEEDED: JobState.SUCCEEDED,
    Event.JOB_DEAD: JobState.DEAD,
    Event.JOB_CANCELLED: JobState.CANCELLED,
}
TEST = "webhook.test"


class JobData(BaseModel):
    """A job that has ended, as it was then: one that died may have been replayed since."""

    id: UUID
    task: str
    state: Literal["succeeded", "dead", "cancelled"]
    attempt: Annotated[int, Field(description="The attempt that it ended with, counted from 1; 0: it never began.")]
    error: Annotated[str, Field(description=f"Of a dead job, in one line of at most {MAX_ERROR} characters.")]
    correlation_id: str
    batch_id: UUID | None
    requested_by: str
    metadata: dict[str, Any]
    created_at: datetime
    finished_at: datetime


class BatchData(BaseModel):
    """A batch all of whose jobs have ended. A replay, or a job that joins it later, ends it once more."""

    id: UUID
    name: str
    total: Annotated[int, Field(description="Jobs it was made with.")]
    jobs: Annotated[dict[str, int], Field(description="How many of its jobs are in each state.")]
    requested_by: str
    created_at: datetime


class TestData(BaseModel):
    """Somebody asked for a test."""

    endpoint_id: UUID
    requested_by: str


class Message(BaseModel):
    """The body of a webhook. Which ``data`` it has, its ``type`` tells."""

    type: str
    version: int = VERSION
    timestamp: Annotated[datetime, Field(description="When it happened, and not when it was sent.")]
    data: JobData | BatchData | TestData


def of_job(event: JobEvent, mask: Mask | None = None) -> Message:
    """Of an ``event`` in TYPE_OF, whose job comes with it, without what ``mask`` hides."""
    job: Job = event.job
    type = TYPE_OF[event.kind]
    error = str(event.detail.get("error", "")) if type == Event.JOB_DEAD else ""
    data = JobData(
        id=job.pk,
        task=job.task,
        state=_STATE_OF[Event(type)].value,
        attempt=event.attempt,
        error=(mask.text(error) if mask else error)[:MAX_ERROR],
        correlation_id=job.correlation_id,
        batch_id=job.batch_id,
        requested_by=job.requested_by,
        metadata=mask.anywhere(job.metadata) if mask else job.metadata,
        created_at=job.created_at,
        finished_at=event.at,
    )
    return Message(type=type, timestamp=event.at, data=data)


def of_batch(batch: Batch, jobs: dict[str, int], at: datetime) -> Message:
    """Of a ``batch`` with so many ``jobs`` in each state, the last of which ended ``at``."""
    data = BatchData(
        id=batch.pk,
        name=batch.name,
        total=batch.total,
        jobs=jobs,
        requested_by=batch.requested_by,
        created_at=batch.created_at,
    )
    return Message(type=Event.BATCH_FINISHED, timestamp=at, data=data)


def of_test(endpoint: WebhookEndpoint, requested_by: str, at: datetime) -> Message:
    data = TestData(endpoint_id=endpoint.pk, requested_by=requested_by)
    return Message(type=TEST, timestamp=at.astimezone(UTC), data=data)


def body_of(message: dict[str, Any]) -> str:
    """The text that is signed and sent. The same for each attempt: the message was fixed when it was made."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
