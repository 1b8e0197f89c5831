"""What programs are told of letters, edits, groups, operations and redirects: over HTTP, and by commands as JSON.

Of what is sensitive, nothing but the mask.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired, cast
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from tasks.dead_letters import editing, groups, inspection, operations
from tasks.dead_letters.masking import Mask
from tasks.dead_letters.preflight import Preflight
from tasks.dead_letters.search import Count
from tasks.models import DeadLetter, LetterEdit, Operation, Redirect


class CountOut(TypedDict):
    number: int
    is_capped: Annotated[bool, Field(description="There are more than that, and they were not counted.")]


class LetterOut(TypedDict):
    id: UUID
    job: UUID | None
    attempt: int
    state: str
    reason: str
    task: str
    queue: str
    error: Annotated[str, Field(description="Type and first line.")]
    release: str
    group: UUID | None
    died_at: datetime
    replayed_at: datetime | None
    replayed_by: str
    discarded_at: datetime | None
    discarded_by: str
    delete_at: Annotated[datetime | None, Field(description="A discarded letter can be restored until then.")]


class ChangeOut(TypedDict):
    field: str
    kind: Literal["added", "removed", "changed"]
    before: NotRequired[Annotated[Any, Field(description="Absent where it was added.")]]
    after: NotRequired[Annotated[Any, Field(description="Absent where it was removed.")]]


class EditOut(TypedDict):
    id: UUID
    letter: UUID
    state: str
    task: str
    queue: str
    changes: list[ChangeOut]
    reason: str
    edited_by: str
    edited_at: datetime
    decided_by: str
    decided_at: datetime | None
    job: UUID | None


class GroupOut(TypedDict):
    id: UUID
    status: str
    task: str
    reason: str
    error_type: str
    message: Annotated[str, Field(description="The error without what differs from one failure to the next.")]
    frame: Annotated[str, Field(description="The innermost line of your own code.")]
    open: CountOut
    total: CountOut
    first_seen_at: datetime
    last_seen_at: datetime | None
    trend: Annotated[list[int], Field(description="Letters in each of the latest 24 hours; the last stands last.")]
    sample: Annotated[UUID | None, Field(description="Its latest letter.")]
    owner: str
    note: str
    runbook_url: str
    snoozed_until: datetime | None
    fixed_in_release: str
    fixed_at: datetime | None
    reopened_at: datetime | None


class Sample(TypedDict):
    letter: UUID
    why: str


class PreflightOut(TypedDict):
    matched: int
    judged: Annotated[int, Field(description="Less than matched where there was no time to look at all.")]
    will: Annotated[int, Field(description="How many it would act on.")]
    skipped: Annotated[dict[str, int], Field(description="How many are left out, by reason.")]
    samples: dict[str, list[Sample]]
    drain_seconds: Annotated[float | None, Field(description="Until all have run; null where nobody can say.")]
    query: Annotated[
        Any, Field(description="Of an operation on those that were looked at, and on none that die later.")
    ]


class StepOut(TypedDict):
    step: int
    size: int
    sent: int
    running: int
    done: int
    failed: int


class OperationOut(TypedDict):
    id: UUID
    verb: str
    query: Any
    state: str
    verdict: Annotated[str, Field(description="Why it ended, or stands still.")]
    total: int
    waiting: int
    sent: int
    running: int
    done: int
    failed: int
    skipped: dict[str, int]
    step: int
    steps: list[StepOut]
    rate_per_second: float | None
    stop_ratio: float | None
    eta_seconds: float | None
    reason: str
    requested_by: str
    created_at: datetime
    finished_at: datetime | None
    undoes: UUID | None


class RedirectOut(TypedDict):
    id: int
    from_task: str
    from_queue: str
    to_task: str
    to_queue: str
    reason: str
    created_by: str
    created_at: datetime


def of_count(count: Count) -> CountOut:
    return {"number": count.number, "is_capped": count.is_capped}


def of_letter(letter: DeadLetter) -> LetterOut:
    return {
        "id": letter.id,
        "job": letter.job_id,
        "attempt": letter.attempt,
        "state": letter.state,
        "reason": letter.reason,
        "task": letter.task,
        "queue": letter.queue,
        "error": inspection.error_line(letter),
        "release": letter.release,
        "group": letter.group_id,
        "died_at": letter.died_at,
        "replayed_at": letter.replayed_at,
        "replayed_by": letter.replayed_by,
        "discarded_at": letter.discarded_at,
        "discarded_by": letter.discarded_by,
        "delete_at": letter.delete_at,
    }


def of_edit(edit: LetterEdit) -> EditOut:
    return {
        "id": edit.id,
        "letter": edit.letter_id,
        "state": edit.state,
        "task": edit.task,
        "queue": edit.queue,
        "changes": [change.as_dict() for change in editing.diff(edit, mask=Mask().payload)],  # type: ignore[misc]
        "reason": edit.reason,
        "edited_by": edit.edited_by,
        "edited_at": edit.edited_at,
        "decided_by": edit.decided_by,
        "decided_at": edit.decided_at,
        "job": edit.job_id,
    }


def of_group(summary: groups.Summary) -> GroupOut:
    group = summary.group
    return {
        "id": group.id,
        "status": summary.status,
        "task": group.task,
        "reason": group.reason,
        "error_type": group.error_type,
        "message": group.message,
        "frame": group.frame,
        "open": of_count(summary.open),
        "total": of_count(summary.total),
        "first_seen_at": group.first_seen_at,
        "last_seen_at": summary.last_seen_at,
        "trend": list(summary.trend),
        "sample": summary.sample,
        "owner": group.owner,
        "note": group.note,
        "runbook_url": group.runbook_url,
        "snoozed_until": group.snoozed_until,
        "fixed_in_release": group.fixed_in_release,
        "fixed_at": group.fixed_at,
        "reopened_at": group.reopened_at,
    }


def of_operation(operation: Operation) -> OperationOut:
    told = {
        "id": operation.id,
        "verb": operation.verb,
        "query": operation.query,
        **operations.progress(operation),
        "stop_ratio": operation.stop_ratio,
        "reason": operation.reason,
        "requested_by": operation.requested_by,
        "created_at": operation.created_at,
        "finished_at": operation.finished_at,
        "undoes": operation.undoes_id,
    }
    return cast(OperationOut, told)


def of_preflight(found: Preflight, query: str | dict[str, Any]) -> PreflightOut:
    """``query``: what to confirm (query.up_to)."""
    return {
        "matched": found.matched,
        "judged": found.judged,
        "will": found.will,
        "skipped": found.skipped,
        "samples": {
            blocker: [{"letter": each.letter_id, "why": each.why} for each in blocked]
            for blocker, blocked in found.samples.items()
        },
        "drain_seconds": found.drain_seconds,
        "query": query,
    }


def of_redirect(redirect: Redirect) -> RedirectOut:
    return {
        "id": redirect.id,
        "from_task": redirect.from_task,
        "from_queue": redirect.from_queue,
        "to_task": redirect.to_task,
        "to_queue": redirect.to_queue,
        "reason": redirect.reason,
        "created_by": redirect.created_by,
        "created_at": redirect.created_at,
    }
