"""Producer side: validate, write the job's row, hand its message to the publisher once the row is committed."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone
from pydantic import BaseModel

from tasks import publisher
from tasks.brokers import JobMessage
from tasks.errors import IdempotencyConflict, InvalidJob
from tasks.models import Job, JobEvent
from tasks.payloads import dump_payload, plain_json
from tasks.registry import registry
from tasks.states import JobState, Priority
from tasks.topology import PRIORITY_QUEUE

MAX_METADATA_BYTES = 16_384
MAX_TEXT = 200
FURTHEST = timedelta(days=3660)


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
    spec = registry.get(task)
    data = dump_payload(spec, payload if payload is not None else {})
    due_at, expires_at = _due_at(delay_seconds, run_at), _moment("expires_at", expires_at)
    _check_options(priority, expires_at, due_at, idempotency_key, correlation_id, requested_by)

    job = Job(
        task=task,
        queue=PRIORITY_QUEUE if priority == Priority.HIGH else spec.queue.name,
        priority=priority,
        payload=data,
        state=JobState.SCHEDULED if due_at else JobState.QUEUED,
        # Hosts disagree about the time: what is relative to now is left to the database's clock.
        due_at=Now() + timedelta(seconds=delay_seconds) if delay_seconds else due_at,
        expires_at=expires_at,
        idempotency_key=idempotency_key or None,
        correlation_id=correlation_id,
        requested_by=requested_by,
        metadata=_metadata(metadata),
    )
    if due_at:
        job.queued_at = None  # else its default, the database's clock
    stored = _insert_or_first(job)
    if stored is job and job.state == JobState.QUEUED:
        publish_on_commit([job])
    return stored


def publish_on_commit(jobs: Iterable[Job]) -> None:
    """Publish the next attempt of each of ``jobs`` once the current transaction is committed."""
    messages = [JobMessage(job.id, job.attempt + 1, job.task, job.queue) for job in jobs]
    transaction.on_commit(lambda: publisher.publish(messages))


def _insert_or_first(job: Job) -> Job:
    """``job``, inserted, or the first job with its key. Safe among concurrent callers: the constraint decides."""
    known = Job.objects.filter(task=job.task, idempotency_key=job.idempotency_key)
    first = known.first() if job.idempotency_key else None
    if first is None:
        try:
            with transaction.atomic():
                job.save(force_insert=True)
                detail = {}
                if job.due_at:
                    job.refresh_from_db(fields=["due_at"])
                    detail["due_at"] = job.due_at.isoformat()
                JobEvent.objects.create(job=job, kind=job.state, at=job.created_at, detail=detail)
            return job
        except IntegrityError:
            first = known.first() if job.idempotency_key else None
            if first is None:
                raise
    if first.payload != job.payload:
        raise IdempotencyConflict(str(job.idempotency_key), first.id)
    return first


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


def _check_options(
    priority: str,
    expires_at: datetime | None,
    due_at: datetime | None,
    idempotency_key: str | None,
    correlation_id: str,
    requested_by: str,
) -> None:
    problems: list[dict[str, str]] = []
    if priority not in Priority.values:
        problems.append({"field": "priority", "message": f"is one of {', '.join(Priority.values)}; got {priority!r}"})
    if expires_at is not None and expires_at <= (due_at or timezone.now()):
        problems.append({"field": "expires_at", "message": "lies before the job would begin"})
    for field, text in (
        ("idempotency_key", idempotency_key or ""),
        ("correlation_id", correlation_id),
        ("requested_by", requested_by),
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
