"""Producer side: validate, write the job's row, hand its message to the publisher once the row is committed.

``enqueue`` is ``prepare`` and ``store`` of one. Whoever has many takes the two steps itself, and can refuse some.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from pydantic import BaseModel

from tasks import publisher
from tasks.brokers import JobMessage
from tasks.errors import IdempotencyConflict, InvalidJob
from tasks.insertion import NewJob, insert
from tasks.models import Job
from tasks.payloads import dump_payload, plain_json
from tasks.registry import registry
from tasks.states import JobState, Priority
from tasks.topology import PRIORITY_QUEUE

MAX_METADATA_BYTES = 16_384
MAX_TEXT = 200
FURTHEST = timedelta(days=3660)


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """What somebody asks for. ``enqueue`` says what each option means."""

    task: str
    payload: BaseModel | dict[str, Any] | None = None
    priority: str = Priority.NORMAL
    delay_seconds: float | None = None
    run_at: datetime | None = None
    expires_at: datetime | None = None
    idempotency_key: str | None = None
    correlation_id: str = ""
    requested_by: str = ""
    metadata: dict[str, Any] | None = None


def enqueue(
    task: str,
    payload: BaseModel | dict[str, Any] | None = None,
    *,
    priority: str = Priority.NORMAL,
    delay_seconds: float | None = None,
    run_at: datetime | None = None,
    expires_at: datetime | None = None,
    idempotency_key: str | None = None,
    correlation_id: str = "",
    requested_by: str = "",
    metadata: dict[str, Any] | None = None,
) -> Job:
    """The job, durable as soon as the caller's transaction commits, and published then.

    A broker that is down does not matter here. ``delay_seconds`` or ``run_at`` (aware) schedule it; ``expires_at``
    buries it if it has not begun by then. With an ``idempotency_key`` that the task has seen, the first job is returned
    and nothing is added. ``metadata`` is yours, at most 16 KiB of JSON.

    Raises InvalidJob, whose ``problems`` name each wrong field: UnknownTask and IdempotencyConflict are such.
    """
    request = JobRequest(
        task=task,
        payload=payload,
        priority=priority,
        delay_seconds=delay_seconds,
        run_at=run_at,
        expires_at=expires_at,
        idempotency_key=idempotency_key,
        correlation_id=correlation_id,
        requested_by=requested_by,
        metadata=metadata,
    )
    (answer,) = store([prepare(request)])
    if isinstance(answer, IdempotencyConflict):
        raise answer
    return answer


def prepare(request: JobRequest) -> NewJob:
    """What ``store`` takes. Raises InvalidJob, as ``enqueue`` does, before anything is stored."""
    spec = registry.get(request.task)
    payload = dump_payload(spec, request.payload if request.payload is not None else {})
    due_at = _due_at(request.delay_seconds, request.run_at)
    expires_at = _moment("expires_at", request.expires_at)
    _check_options(request, expires_at, due_at)
    return NewJob(
        task=request.task,
        queue=PRIORITY_QUEUE if request.priority == Priority.HIGH else spec.queue.name,
        priority=request.priority,
        payload=payload,
        due_at=None if request.delay_seconds else due_at,
        delay_seconds=request.delay_seconds or None,
        expires_at=expires_at,
        idempotency_key=request.idempotency_key or None,
        correlation_id=request.correlation_id,
        requested_by=request.requested_by,
        metadata=_metadata(request.metadata),
    )


def store(new_jobs: Sequence[NewJob]) -> list[Job | IdempotencyConflict]:
    """For each, in their order, its job; or the first job of its idempotency key; or, where that one has another
    payload, the conflict, which keeps none of the others from being stored.

    All rows are durable, and those that are queued published, once the caller's transaction commits.
    """
    jobs = insert(new_jobs)
    added = [job for new, job in zip(new_jobs, jobs, strict=True) if job.id == new.id]
    publish_on_commit([job for job in added if job.state == JobState.QUEUED])
    return [
        job if job.payload == new.payload else IdempotencyConflict(str(new.idempotency_key), job.id)
        for new, job in zip(new_jobs, jobs, strict=True)
    ]


def publish_on_commit(jobs: Iterable[Job]) -> None:
    """Publish the next attempt of each of ``jobs`` once the current transaction is committed."""
    if messages := [JobMessage(job.id, job.attempt + 1, job.task, job.queue) for job in jobs]:
        transaction.on_commit(lambda: publisher.publish(messages))


def _due_at(delay_seconds: float | None, run_at: datetime | None) -> datetime | None:
    """The moment the job is due, in UTC, by this host's clock where ``delay_seconds`` counts from now; None for now."""
    if delay_seconds is not None and run_at is not None:
        raise InvalidJob([{"field": "run_at", "message": "give delay_seconds or run_at, not both"}])
    if delay_seconds is not None:
        if not 0 <= delay_seconds <= FURTHEST.total_seconds():  # false for NaN as well
            most = f"{FURTHEST.total_seconds():,.0f}"
            message = f"is 0 to {most} seconds, which is {FURTHEST.days:,} days"
            raise InvalidJob([{"field": "delay_seconds", "message": message}])
        return timezone.now() + timedelta(seconds=delay_seconds) if delay_seconds else None
    return _moment("run_at", run_at)  # one in the past is due at once, by the clock that the relay goes by


def _moment(field: str, value: datetime | None) -> datetime | None:
    """``value`` in UTC. InvalidJob where it has no time zone, or lies further away than anyone waits."""
    if value is None:
        return None
    if timezone.is_naive(value):
        raise InvalidJob([{"field": field, "message": "needs a time zone, like 2026-01-31T08:00:00Z"}])
    try:
        value = value.astimezone(UTC)
    except (
        OverflowError
    ):  # 9999-12-31T23:59-12:00 is a year 10000 in UTC, which PostgreSQL keeps and Python can not read
        value = datetime.max.replace(tzinfo=UTC)
    if abs(value - timezone.now()) > FURTHEST:
        raise InvalidJob([{"field": field, "message": f"lies more than {FURTHEST.days:,} days from now"}])
    return value


def _check_options(request: JobRequest, expires_at: datetime | None, due_at: datetime | None) -> None:
    problems: list[dict[str, str]] = []
    if request.priority not in Priority.values:
        problems.append(
            {"field": "priority", "message": f"is one of {', '.join(Priority.values)}; got {request.priority!r}"}
        )
    if expires_at is not None and expires_at <= (due_at or timezone.now()):
        problems.append({"field": "expires_at", "message": "lies before the job would begin"})
    for field, text in (
        ("idempotency_key", request.idempotency_key or ""),
        ("correlation_id", request.correlation_id),
        ("requested_by", request.requested_by),
    ):
        if len(text) > MAX_TEXT:
            problems.append({"field": field, "message": f"has {len(text)} characters and may have {MAX_TEXT}"})
        if "\0" in text:
            problems.append({"field": field, "message": "holds a NUL character"})
    if problems:
        raise InvalidJob(problems)


def _metadata(metadata: dict[str, Any] | None) -> dict[str, Any]:
    if metadata is not None and not isinstance(metadata, dict):
        raise InvalidJob([{"field": "metadata", "message": "is an object"}])
    return plain_json("metadata", metadata or {}, MAX_METADATA_BYTES)
