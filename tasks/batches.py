"""Many jobs at once."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from pydantic import BaseModel

from tasks import statements
from tasks.dispatch import JobRequest, columns, publish_on_commit, store, text_problems
from tasks.errors import IdempotencyConflict, InvalidJob, KeyInUse
from tasks.insertion import NewJob, insert_rows, turn_of
from tasks.models import Batch, Job
from tasks.payloads import dump_payload
from tasks.registry import TaskSpec, registry
from tasks.states import JobState, Priority

MOST_PROBLEMS = 100


def enqueue_many(
    task: str,
    payloads: Iterable[BaseModel | dict[str, Any]],
    *,
    name: str = "",
    priority: str = Priority.NORMAL,
    delay_seconds: float | None = None,
    run_at: datetime | None = None,
    expires_at: datetime | None = None,
    idempotency_key: str | None = None,
    correlation_id: str = "",
    requested_by: str = "",
    metadata: dict[str, Any] | None = None,
) -> Batch:
    """The batch of one job for each of ``payloads``: durable as soon as the caller's transaction commits, published
    then.

    The options are those of ``enqueue``, and every job's; the ``idempotency_key`` alone is the batch's: with one that
    any batch has, that batch is returned and nothing is added. ``name`` is for people. More jobs may join it later by
    ``enqueue(..., batch=batch)``, so it may begin with none.

    Raises InvalidJob, and nothing is stored, when one job is wrong; its ``problems`` name the fields, like
    ``payloads.17.to``.
    """
    spec = registry.get(task)
    request = JobRequest(
        task=task,
        priority=priority,
        delay_seconds=delay_seconds,
        run_at=run_at,
        expires_at=expires_at,
        correlation_id=correlation_id,
        requested_by=requested_by,
        metadata=metadata,
    )
    if problems := text_problems(name=name, idempotency_key=idempotency_key or ""):
        raise InvalidJob(problems)
    batch = Batch(name=name, requested_by=requested_by, idempotency_key=idempotency_key or None)
    common = columns(spec, request) | {"batch_id": batch.pk}
    new_jobs = [NewJob(payload=payload, **common) for payload in _dump(spec, payloads)]
    batch.total = len(new_jobs)
    if batch.idempotency_key:
        batch.digest = sha256("\n".join([task, *(new.payload for new in new_jobs)]).encode()).hexdigest()
    with transaction.atomic():
        stored = _insert_or_first(batch)
        if stored.pk == batch.pk:
            insert_rows(new_jobs)
            publish_on_commit(new for new in new_jobs if new.state == JobState.QUEUED)
    return stored


def store_batch(
    batch: Batch, new_jobs: Sequence[NewJob], *, whole: bool = False, known: int = 0
) -> tuple[Batch, list[UUID | IdempotencyConflict]]:
    """``batch``, or the first one of its idempotency key; and for each of ``new_jobs`` the id of its job, of the first
    job of its own key, or the conflict.

    Nothing is stored where no job is, unless ``known`` others answer for it already.

    Raises IdempotencyConflict when the first batch of the key has another digest,
    or ``whole`` and a job's conflict, and KeyInUse while somebody stores it.
    """
    with transaction.atomic():
        _take_turn(batch)
        batch.total = len(new_jobs)
        stored = _insert_or_first(batch)
        if stored.pk != batch.pk:
            new_jobs = [replace(new, batch_id=stored.pk) for new in new_jobs]
        answers = _insert_or_conflict(new_jobs)
        if whole:
            for answer in answers:
                if isinstance(answer, IdempotencyConflict):
                    raise answer
        own = sum(answer == new.id for new, answer in zip(new_jobs, answers, strict=True))
        if own != batch.total and stored.pk == batch.pk:
            batch.total = own
            batch.save(update_fields=["total"])
        if not known and not any(isinstance(answer, UUID) for answer in answers):
            transaction.set_rollback(True)
    return stored, answers


def _take_turn(batch: Batch) -> None:
    """Until the transaction ends. A batch of many is long in coming, and nobody from outside is made to wait for it."""
    if connection.vendor == "postgresql" and batch.idempotency_owner and batch.idempotency_key:
        turn = turn_of("batch", batch.idempotency_owner, batch.idempotency_key)
        ((is_ours,),) = statements.execute("SELECT pg_try_advisory_xact_lock(%s::bigint)", [turn])
        if not is_ours:
            raise KeyInUse(batch.idempotency_key)


def _insert_or_conflict(new_jobs: Sequence[NewJob]) -> list[UUID | IdempotencyConflict]:
    if any(new.idempotency_key for new in new_jobs):
        return [answer.pk if isinstance(answer, Job) else answer for answer in store(new_jobs)]
    insert_rows(new_jobs)
    publish_on_commit(new for new in new_jobs if new.state == JobState.QUEUED)
    return [new.id for new in new_jobs]


def _dump(spec: TaskSpec, payloads: Iterable[BaseModel | dict[str, Any]]) -> list[str]:
    texts: list[str] = []
    problems: list[dict[str, str]] = []
    for index, payload in enumerate(payloads):
        try:
            texts.append(dump_payload(spec, payload))
        except InvalidJob as error:
            place = f"payloads.{index}"
            problems += [
                {**problem, "field": problem["field"].replace("payload", place, 1)} for problem in error.problems
            ]
            if len(problems) >= MOST_PROBLEMS:
                break
    if problems:
        raise InvalidJob(problems[:MOST_PROBLEMS])
    return texts


def _insert_or_first(batch: Batch) -> Batch:
    """``batch``, inserted, or the first one with its key. Safe among concurrent callers: the constraint decides."""
    if batch.idempotency_key is None:
        batch.save(force_insert=True)
        return batch
    Batch.objects.bulk_create([batch], ignore_conflicts=True)
    first = Batch.objects.get(idempotency_key=batch.idempotency_key, idempotency_owner=batch.idempotency_owner)
    if first.digest != batch.digest:
        raise IdempotencyConflict(batch.idempotency_key, first.pk, of="batch")
    return first
