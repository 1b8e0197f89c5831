"""Many jobs of one task at once, all or none of them."""

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.db import transaction
from pydantic import BaseModel

from tasks.dispatch import JobRequest, columns, publish_on_commit, text_problems
from tasks.errors import IdempotencyConflict, InvalidJob
from tasks.insertion import NewJob, insert_rows
from tasks.models import Batch
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
    first = Batch.objects.get(idempotency_key=batch.idempotency_key)
    if first.digest != batch.digest:
        raise IdempotencyConflict(batch.idempotency_key, first.pk, of="batch")
    return first
