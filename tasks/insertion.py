"""New rows: jobs and the first event of each, all of them in one transaction and, where the database can, in one
statement."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from tasks.models import Job, JobEvent
from tasks.states import JobState


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """A job that has been checked and has no row yet. Its columns have the names of the model's fields."""

    id: UUID = field(default_factory=uuid7)
    task: str
    queue: str
    priority: str
    payload: dict[str, Any]
    due_at: datetime | None = None
    delay_seconds: float | None = None
    """Instead of ``due_at``: hosts disagree about the time, so what is relative to now is left to the database."""
    expires_at: datetime | None = None
    idempotency_key: str | None = None
    correlation_id: str = ""
    requested_by: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> JobState:
        return JobState.SCHEDULED if self.due_at or self.delay_seconds else JobState.QUEUED


class Moments(NamedTuple):
    """What the database's clock decided."""

    created_at: datetime
    queued_at: datetime | None
    due_at: datetime | None


def insert(new_jobs: Sequence[NewJob]) -> list[Job]:
    """For each its row, or the first row of its idempotency key, which has another id; in the caller's transaction.

    Safe among concurrent callers: the constraint decides, and whoever comes second waits for the first one's commit.
    """
    jobs: dict[UUID, Job] = {}
    waiting = list(new_jobs)
    for _ in range(3):  # the first row of a key may be pruned just before it is read
        inserted = _insert(waiting)
        jobs |= {new.id: _row(new, inserted[new.id]) for new in waiting if new.id in inserted}
        waiting = [new for new in waiting if new.id not in inserted]
        if waiting:
            first = _first_of_their_keys(waiting)
            jobs |= {new.id: first[_key(new)] for new in waiting if _key(new) in first}
            waiting = [new for new in waiting if _key(new) not in first]
        if not waiting:
            return [jobs[new.id] for new in new_jobs]
    raise IntegrityError(f"job {waiting[0].id} can neither be inserted nor found by its idempotency key")


def _insert(new_jobs: Sequence[NewJob]) -> dict[UUID, Moments]:
    """Insert those whose idempotency key is new."""
    in_order = sorted(new_jobs, key=_key)  # of keys: two that insert the same ones must not wait for each other
    return _insert_on_postgresql(in_order) if connection.vendor == "postgresql" else _insert_by_the_orm(in_order)


_STATEMENT = """
WITH job AS (
    INSERT INTO tasks_job (
        id, task, queue, priority, payload, state, attempt, attempt_base, created_at, queued_at, due_at, expires_at,
        progress_done, progress_note, error, idempotency_key, correlation_id, requested_by, metadata
    )
    SELECT
        id, task, queue, priority, payload, state, 0, 0, statement_timestamp(),
        CASE state WHEN 'queued' THEN statement_timestamp() END,
        coalesce(statement_timestamp() + make_interval(secs => delay_seconds), due_at), expires_at,
        0, '', '', idempotency_key, correlation_id, requested_by, metadata
    FROM json_to_recordset(%s::json) AS given (
        id uuid, task text, queue text, priority text, payload jsonb, state text, due_at timestamptz,
        delay_seconds float, expires_at timestamptz, idempotency_key text, correlation_id text, requested_by text,
        metadata jsonb
    )
    ON CONFLICT DO NOTHING
    RETURNING id, state, created_at, queued_at, due_at
), event AS (
    INSERT INTO tasks_jobevent (job_id, kind, attempt, at, detail)
    SELECT
        id, state, 0, created_at,
        CASE WHEN due_at IS NULL THEN '{}' ELSE jsonb_build_object('due_at', due_at) END
    FROM job
)
SELECT id, created_at, queued_at, due_at FROM job
"""


def _insert_on_postgresql(new_jobs: Sequence[NewJob]) -> dict[UUID, Moments]:
    """One round trip; one text, and so one plan, for any number of rows, since they travel as one JSON array."""
    rows = json.dumps([_columns(new) for new in new_jobs], default=_as_text)
    with connection.cursor() as cursor:
        cursor.execute(_STATEMENT, [rows])
        return {row[0]: Moments(*row[1:]) for row in cursor.fetchall()}


def _columns(new: NewJob) -> dict[str, Any]:
    return {
        "id": new.id,
        "task": new.task,
        "queue": new.queue,
        "priority": new.priority,
        "payload": new.payload,
        "state": new.state,
        "due_at": new.due_at,
        "delay_seconds": new.delay_seconds,
        "expires_at": new.expires_at,
        "idempotency_key": new.idempotency_key,
        "correlation_id": new.correlation_id,
        "requested_by": new.requested_by,
        "metadata": new.metadata,
    }


def _as_text(value: UUID | datetime) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _insert_by_the_orm(new_jobs: Sequence[NewJob]) -> dict[UUID, Moments]:
    """The same in three statements, for a database that has no WITH … INSERT."""
    rows = []
    for new in new_jobs:
        columns = {name: value for name, value in _columns(new).items() if name != "delay_seconds"}
        if new.delay_seconds:
            columns["due_at"] = Now() + timedelta(seconds=new.delay_seconds)
        if new.state == JobState.SCHEDULED:
            columns["queued_at"] = None
        rows.append(Job(**columns))
    with transaction.atomic():
        Job.objects.bulk_create(rows, ignore_conflicts=True)
        known = Job.objects.filter(pk__in=[new.id for new in new_jobs])
        inserted = {row[0]: Moments(*row[1:]) for row in known.values_list("id", "created_at", "queued_at", "due_at")}
        JobEvent.objects.bulk_create(
            JobEvent(
                job_id=id,
                kind=JobState.SCHEDULED if at.due_at else JobState.QUEUED,
                at=at.created_at,
                detail=_detail(at),
            )
            for id, at in inserted.items()
        )
    return inserted


def _detail(at: Moments) -> dict[str, str]:
    return {"due_at": at.due_at.isoformat()} if at.due_at else {}


def _first_of_their_keys(new_jobs: Iterable[NewJob]) -> dict[tuple[str, str], Job]:
    """By task and key, the jobs that have been there before these."""
    keys: dict[str, list[str]] = {}
    for new in new_jobs:
        keys.setdefault(new.task, []).append(new.idempotency_key or "")
    first = (Job.objects.filter(task=task, idempotency_key__in=of_task) for task, of_task in keys.items())
    return {(job.task, job.idempotency_key or ""): job for jobs in first for job in jobs}


def _key(new: NewJob) -> tuple[str, str]:
    return new.task, new.idempotency_key or ""


def _row(new: NewJob, moments: Moments) -> Job:
    columns = {name: value for name, value in _columns(new).items() if name != "delay_seconds"}
    job = Job(**{**columns, **moments._asdict()})
    job._state.adding, job._state.db = False, connection.alias
    return job
