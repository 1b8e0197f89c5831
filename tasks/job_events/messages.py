"""What subscribers are told of a change. A member may be added; none changes its meaning or goes without a new version.

Payloads and results are left out: what they hold may be nobody's business, and whoever has the right can read the job.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from tasks.dead_letters.masking import mask_of
from tasks.models import JobEvent
from tasks.states import JobState

VERSION = 1
MAX_ERROR = 500

Kind = JobEvent.Kind

STATE_OF: dict[str, JobState] = {
    **{state.value: state for state in JobState},
    Kind.HANDED_BACK: JobState.QUEUED,
    Kind.REPLAYED: JobState.QUEUED,
    Kind.PURGED: JobState.CANCELLED,
}
"""By the kind of a JobEvent, the state that the job went to. RESTORED says it itself; other kinds change no state."""


class JobEventMessage(BaseModel):
    """A job has changed its state."""

    version: int = VERSION
    id: Annotated[str, Field(description="The same whenever this event is told again: drop what you have seen.")]
    type: Annotated[str, Field(description="job.<state>")]
    at: Annotated[datetime, Field(description="When it happened, and not when it was sent.")]
    job_id: UUID
    task: str
    queue: str
    state: Literal["scheduled", "queued", "running", "retrying", "succeeded", "dead", "cancelled"]
    attempt: Annotated[int, Field(description="The attempt it was at, counted from 1; 0: none had begun.")]
    error: Annotated[str, Field(description=f"Of retrying and dead, one line of at most {MAX_ERROR} characters.")]
    correlation_id: str
    batch_id: UUID | None
    requested_by: str

    @property
    def routing_key(self) -> str:
        """Where a topic exchange takes it: job.<state>.<task name>."""
        return f"{self.type}.{self.task}"


def state_of(event: JobEvent) -> JobState | None:
    """The state that the event brought the job to; None where it left the state alone."""
    if event.kind == Kind.RESTORED:
        return JobState(event.detail["state"])
    return STATE_OF.get(event.kind)


def of(event: JobEvent) -> JobEventMessage | None:
    """What is told of ``event``, whose job comes with it; None where it changed no state."""
    state, job = state_of(event), event.job
    if state is None:
        return None
    error = str(event.detail.get("error") or "")
    return JobEventMessage(
        id=str(event.pk),
        type=f"job.{state.value}",
        at=event.at,
        job_id=job.pk,
        task=job.task,
        queue=job.queue,
        state=state.value,
        attempt=event.attempt,
        error=mask_of(job).text(error)[:MAX_ERROR] if error else "",
        correlation_id=job.correlation_id,
        batch_id=job.batch_id,
        requested_by=job.requested_by,
    )
