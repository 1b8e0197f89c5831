"""New rows: jobs and the first event of each, all of them in one transaction, in as few trips to the database as it
allows."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models.base import ModelState
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from tasks import statements
from tasks.errors import KeyInUse
from tasks.models import Job, JobEvent
from tasks.states import JobState

COPY_FROM = 300
"""Rows from which on COPY, which takes five trips, is the cheaper way; the larger they are, the more so."""


@dataclass(kw_only=True, slots=True)
class NewJob:
    """A job that has been checked and has no row yet. Its fields are columns; payload and metadata are JSON texts."""

    attempt: ClassVar[int] = 0

    id: UUID = field(default_factory=uuid7)
    task: str
    aliases: tuple[str, ...] = ()
    """Names that the task had before: their idempotency keys are its keys."""
    queue: str
    priority: str
    payload: str
    metadata: str = "{}"
    due_at: datetime | None = None
    delay_seconds: float | None = None
    """Instead of ``due_at``: hosts disagree about the time, so what is relative to now is left to the database."""
    expires_at: datetime | None = None
    batch_id: UUID | None = None
    idempotency_key: str | None = None
    idempotency_owner: str = ""
    """Whose key it is; empty where it is the task's."""
    idempotency_digest: str = ""
    """Of the request that the owner's key stands for."""
    correlation_id: str = ""
    requested_by: str = ""
    reply_to: str = ""
    """No column: who waits for its outcome has a row of its own (requests.py)."""

    @property
    def state(self) -> JobState:
        return JobState.SCHEDULED if self.due_at or self.delay_seconds else JobState.QUEUED


class Key(NamedTuple):
    """What an idempotency key is unique among: the owner's, or else the task's."""

    owner: str
    task: str
    text: str


class Moments(NamedTuple):
    """What the database's clock decided."""

    created_at: datetime
    queued_at: datetime | None
    due_at: datetime | None


def insert(new_jobs: Sequence[NewJob]) -> list[Job]:
    """For each its row, or the first row of its idempotency key, which has another id; in the caller's transaction.

    Safe among concurrent callers: the constraint decides, and whoever comes second waits for the first one's commit.
    Unless it comes alone with an owner's key: then it does not wait, and KeyInUse is raised.
    """
    jobs = _enqueued_under_an_alias(new_jobs)
    waiting = [new for new in new_jobs if new.id not in jobs]
    for _ in range(3):  # the first row of a key may be pruned just before it is read
        inserted = insert_rows(waiting)
        jobs |= {new.id: _job(new, inserted[new.id]) for new in waiting if new.id in inserted}
        if waiting := [new for new in waiting if new.id not in inserted]:
            first = _first_of_their_keys(map(_key, waiting))
            jobs |= {new.id: first[_key(new)] for new in waiting if _key(new) in first}
            waiting = [new for new in waiting if _key(new) not in first]
        if not waiting:
            return [jobs[new.id] for new in new_jobs]
    if waiting[0].idempotency_owner:
        raise KeyInUse(str(waiting[0].idempotency_key))
    raise IntegrityError(f"job {waiting[0].id} can neither be inserted nor found by its idempotency key")


def turn_of(what: str, owner: str, key: str) -> int:
    """The advisory lock of PostgreSQL that whoever makes ``what`` with the owner's key holds until it is committed."""
    return int.from_bytes(sha256(f"{what}\0{owner}\0{key}".encode()).digest()[:8], signed=True)


def insert_rows(new_jobs: Sequence[NewJob]) -> dict[UUID, Moments]:
    """Insert those whose idempotency key is new, or that have none. By id, the moments of the inserted."""
    if connection.vendor != "postgresql":
        return _by_the_orm(new_jobs)
    if len(new_jobs) >= COPY_FROM and all(new.idempotency_key is None for new in new_jobs):
        return _by_copy(new_jobs)
    return _by_one_statement(new_jobs)


_STATEMENT = """
WITH job AS (
    INSERT INTO tasks_job (
        id, task, queue, priority, payload, metadata, state, attempt, attempt_base, created_at, queued_at, due_at,
        expires_at, batch_id, idempotency_key, idempotency_owner, idempotency_digest, correlation_id, requested_by,
        progress_done, progress_note, error
    )
    SELECT
        id, task, queue, priority, payload::jsonb, metadata::jsonb, state, 0, 0, statement_timestamp(),
        CASE state WHEN 'queued' THEN statement_timestamp() END,
        coalesce(statement_timestamp() + make_interval(secs => delay_seconds), due_at),
        expires_at, batch_id, idempotency_key, coalesce(idempotency_owner, ''), coalesce(idempotency_digest, ''),
        correlation_id, requested_by, 0, '', ''
    FROM json_to_recordset(%s::json) AS given (
        id uuid, task text, queue text, priority text, payload text, metadata text, state text, due_at timestamptz,
        delay_seconds float, expires_at timestamptz, batch_id uuid, idempotency_key text, idempotency_owner text,
        idempotency_digest text, correlation_id text, requested_by text, turn bigint
    )
    -- Who does not get their turn is not made to wait for somebody else's commit. Nor asked for one without a key.
    WHERE CASE WHEN turn IS NULL THEN true ELSE pg_try_advisory_xact_lock(turn) END
    ON CONFLICT DO NOTHING
    RETURNING id, state, created_at, queued_at, due_at
), event AS (
    INSERT INTO tasks_jobevent (job_id, kind, attempt, at, detail)
    SELECT
        id, state, 0, created_at,
        CASE WHEN due_at IS NULL THEN '{}' ELSE jsonb_build_object(
            'due_at', to_char(due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')
        ) END
    FROM job
)
SELECT id, created_at, queued_at, due_at FROM job
"""


def _by_one_statement(new_jobs: Sequence[NewJob]) -> dict[UUID, Moments]:
    """One trip. One text, and so one plan, for any number of rows, since they travel as one JSON array."""
    in_order = sorted(new_jobs, key=_key)  # two that insert the same keys must not wait for each other
    rows = [{**_columns(new), "state": new.state, "delay_seconds": new.delay_seconds} for new in in_order]
    if len(in_order) == 1 and in_order[0].idempotency_owner:  # many turns at once would fill the server's lock table
        rows[0]["turn"] = turn_of("job", in_order[0].idempotency_owner, str(in_order[0].idempotency_key))
    return {row[0]: Moments(*row[1:]) for row in statements.execute(_STATEMENT, [json.dumps(rows, default=str)])}


def _by_copy(new_jobs: Sequence[NewJob]) -> dict[UUID, Moments]:
    """The cheapest way for many rows. COPY knows no conflicts, and does not tell what the database decided."""
    with transaction.atomic():
        ((now,),) = statements.execute("SELECT statement_timestamp()")
        inserted = {new.id: _at(new, now) for new in new_jobs}
        statements.copy("tasks_job", [_whole_row(new, inserted[new.id]) for new in new_jobs])
        statements.copy("tasks_jobevent", [_first_event(new, inserted[new.id]) for new in new_jobs])
    return inserted


def _by_the_orm(new_jobs: Sequence[NewJob]) -> dict[UUID, Moments]:
    """For a database that has neither COPY nor an INSERT within a WITH."""
    rows = []
    for new in new_jobs:
        job = Job(**_columns(new) | _parsed(new), state=new.state)
        if new.delay_seconds:
            job.due_at = Now() + timedelta(seconds=new.delay_seconds)
        if job.due_at:
            job.queued_at = None
        rows.append(job)
    with transaction.atomic():
        Job.objects.bulk_create(rows, ignore_conflicts=True)
        found = Job.objects.filter(pk__in=[new.id for new in new_jobs])
        inserted = {row[0]: Moments(*row[1:]) for row in found.values_list("id", "created_at", "queued_at", "due_at")}
        told = [(new, inserted[new.id]) for new in new_jobs if new.id in inserted]
        JobEvent.objects.bulk_create(
            JobEvent(job_id=new.id, kind=new.state, at=at.created_at, detail=_detail(at)) for new, at in told
        )
    return inserted


def _enqueued_under_an_alias(new_jobs: Iterable[NewJob]) -> dict[UUID, Job]:
    """The first jobs of those keys that a task has seen before it was renamed. A build that still enqueues under the
    old name at this very moment goes unnoticed: no constraint spans two names."""
    keyed = [(new, new.idempotency_key) for new in new_jobs if new.idempotency_key and not new.idempotency_owner]
    asked = [(new.id, Key("", alias, key)) for new, key in keyed for alias in new.aliases]
    first = _first_of_their_keys(key for _, key in asked)
    return {id: first[key] for id, key in asked if key in first}


def _first_of_their_keys(given: Iterable[Key]) -> dict[Key, Job]:
    """By key, the jobs that have been there before these."""
    keys: dict[tuple[str, str], list[str]] = {}
    for key in given:
        keys.setdefault((key.owner, key.task), []).append(key.text)
    found: dict[Key, Job] = {}
    for (owner, task), texts in keys.items():
        jobs = Job.objects.filter(idempotency_owner=owner, idempotency_key__in=texts)
        for job in jobs if owner else jobs.filter(task=task):
            found[Key(owner, task, job.idempotency_key or "")] = job
    return found


def _key(new: NewJob) -> Key:
    return Key(new.idempotency_owner, "" if new.idempotency_owner else new.task, new.idempotency_key or "")


def _columns(new: NewJob) -> dict[str, Any]:
    """What the caller decided, in one order. A relative delay is none of it."""
    columns = {
        "id": new.id,
        "task": new.task,
        "queue": new.queue,
        "priority": new.priority,
        "payload": new.payload,
        "metadata": new.metadata,
        "due_at": new.due_at,
        "expires_at": new.expires_at,
        "batch_id": new.batch_id,
        "idempotency_key": new.idempotency_key,
        "correlation_id": new.correlation_id,
        "requested_by": new.requested_by,
    }
    if new.idempotency_owner:  # most have none, and the columns have a default
        columns |= {"idempotency_owner": new.idempotency_owner, "idempotency_digest": new.idempotency_digest}
    return columns


def _parsed(new: NewJob) -> dict[str, Any]:
    return {"payload": json.loads(new.payload), "metadata": json.loads(new.metadata)}


def _at(new: NewJob, now: datetime) -> Moments:
    due_at = now + timedelta(seconds=new.delay_seconds) if new.delay_seconds else new.due_at
    return Moments(now, None if due_at else now, due_at)


def _whole_row(new: NewJob, at: Moments) -> dict[str, Any]:
    """With the columns that have a default in the model alone."""
    rest = {"state": new.state, "attempt": 0, "attempt_base": 0, "progress_done": 0, "progress_note": "", "error": ""}
    return _columns(new) | at._asdict() | rest


def _first_event(new: NewJob, at: Moments) -> dict[str, Any]:
    return {"job_id": new.id, "kind": new.state, "attempt": 0, "at": at.created_at, "detail": json.dumps(_detail(at))}


def _detail(at: Moments) -> dict[str, str]:
    return {"due_at": at.due_at.isoformat(timespec="microseconds")} if at.due_at else {}


def _job(new: NewJob, at: Moments) -> Job:
    """As if read from the database, which a model's own constructor takes four times as long to come to."""
    job = Job.__new__(Job)
    job._state = ModelState()
    job._state.adding, job._state.db = False, connection.alias
    job.__dict__.update(_defaults() | _columns(new) | _parsed(new) | at._asdict() | {"state": new.state.value})
    return job


@cache
def _defaults() -> dict[str, Any]:
    """By column, in the model's order, what a new row has unless told otherwise."""
    return {column.attname: column.get_default() for column in Job._meta.concrete_fields}
