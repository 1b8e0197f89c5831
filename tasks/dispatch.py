"""Producer side: validate, write the job's row, hand its message to the publisher once the row is committed.

``enqueue`` is ``prepare`` and ``store`` of one. Whoever has many takes the two steps itself, and can refuse some.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from pydantic import BaseModel

from tasks import publisher, requests
from tasks.brokers import JobMessage
from tasks.errors import IdempotencyConflict, InvalidJob, UnknownTask
from tasks.group_commit import GroupCommit
from tasks.insertion import NewJob, insert
from tasks.models import Batch, Job
from tasks.payloads import dump_payload, json_text
from tasks.registry import TaskSpec, registry
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
    idempotency_owner: str = ""
    idempotency_digest: str = ""
    correlation_id: str = ""
    requested_by: str = ""
    metadata: dict[str, Any] | None = None
    batch: Batch | None = None
    reply_to: str = ""
    from_outside: bool = False


def enqueue(
    task: str,
    payload: BaseModel | dict[str, Any] | None = None,
    *,
    priority: str = Priority.NORMAL,
    delay_seconds: float | None = None,
    run_at: datetime | None = None,
    expires_at: datetime | None = None,
    idempotency_key: str | None = None,
    idempotency_owner: str = "",
    idempotency_digest: str = "",
    correlation_id: str = "",
    requested_by: str = "",
    metadata: dict[str, Any] | None = None,
    batch: Batch | None = None,
    reply_to: str = "",
    from_outside: bool = False,
) -> Job:
    """The job, durable as soon as the caller's transaction commits, and published then.

    A broker that is down does not matter here. ``delay_seconds`` or ``run_at`` (aware) schedule it; ``expires_at``
    buries it if it has not begun by then. With an ``idempotency_key`` that the task has seen, the first job is returned
    and nothing is added. ``metadata`` is yours, at most 16 KiB of JSON. ``batch`` is what ``enqueue_many`` returned.
    ``reply_to`` is a queue of yours, on the same broker, that the outcome is sent to under the ``correlation_id``
    (docs/request-reply.md).

    With an ``idempotency_owner`` the key is theirs alone, for all tasks, and stands for the whole request that has
    ``idempotency_digest``: that is how callers from outside, who know nothing of each other, choose their keys.

    ``from_outside``: such a caller wrote the payload. The platform's own tasks are unknown to them, members that the
    payload's model does not know are refused, and of stored files only uploads can be named.

    Raises InvalidJob, whose ``problems`` name each wrong field: UnknownTask and IdempotencyConflict are such; and
    KeyInUse while the first request with an owner's key is not committed.
    """
    request = JobRequest(
        task=task,
        payload=payload,
        priority=priority,
        delay_seconds=delay_seconds,
        run_at=run_at,
        expires_at=expires_at,
        idempotency_key=idempotency_key,
        idempotency_owner=idempotency_owner,
        idempotency_digest=idempotency_digest,
        correlation_id=correlation_id,
        requested_by=requested_by,
        metadata=metadata,
        batch=batch,
        reply_to=reply_to,
        from_outside=from_outside,
    )
    new = prepare(request)
    answer = _group_commit.commit(new) if _may_share(new) else store([new])[0]
    if isinstance(answer, IdempotencyConflict):
        raise answer
    return answer


def prepare(request: JobRequest) -> NewJob:
    """What ``store`` takes. Raises InvalidJob, as ``enqueue`` does, before anything is stored."""
    spec = registry.get(request.task)
    if request.from_outside and spec.is_internal:
        raise UnknownTask(request.task, [spec.name for spec in registry if not spec.is_internal])
    given = request.payload if request.payload is not None else {}
    payload = dump_payload(spec, given, from_outside=request.from_outside)
    return NewJob(payload=payload, **columns(spec, request))


def columns(spec: TaskSpec, request: JobRequest) -> dict[str, Any]:
    """What ``prepare`` gives the new job beside its payload. Raises InvalidJob for an option that is wrong."""
    due_at = _due_at(request.delay_seconds, request.run_at)
    expires_at = _moment("expires_at", request.expires_at)
    _check_options(request, expires_at, due_at)
    return {
        "task": spec.name,
        "aliases": spec.aliases,
        "queue": PRIORITY_QUEUE if request.priority == Priority.HIGH else spec.queue.name,
        "priority": str(request.priority),
        "metadata": _metadata(request.metadata),
        "due_at": None if request.delay_seconds else due_at,
        "delay_seconds": request.delay_seconds or None,
        "expires_at": expires_at,
        "batch_id": request.batch.pk if request.batch else None,
        "idempotency_key": request.idempotency_key or None,
        "idempotency_owner": request.idempotency_owner if request.idempotency_key else "",
        "idempotency_digest": request.idempotency_digest if request.idempotency_key else "",
        "correlation_id": request.correlation_id,
        "requested_by": request.requested_by,
        "reply_to": request.reply_to,
    }


def store(new_jobs: Sequence[NewJob]) -> list[Job | IdempotencyConflict]:
    """For each, in their order, its job; or the first job of its idempotency key; or, where that one came of another
    request, the conflict, which keeps none of the others from being stored.

    All rows are durable, and those that are queued published, once the caller's transaction commits.
    """
    answers: list[Job | IdempotencyConflict] = []
    queued: list[Job] = []
    jobs = insert(new_jobs)
    for new, job in zip(new_jobs, jobs, strict=True):
        if job.id == new.id:
            queued += [job] if job.state == JobState.QUEUED else []
            answers.append(job)
        else:
            answers.append(job if _same(new, job) else IdempotencyConflict(str(new.idempotency_key), job.id))
    requests.ask(
        requests.Asked(job.pk, new.reply_to, new.correlation_id, new.requested_by)
        for new, job in zip(new_jobs, answers, strict=True)
        if new.reply_to and isinstance(job, Job)
    )
    publish_on_commit(queued)
    return answers


def first_jobs(owner: str, requests: Mapping[str, str]) -> dict[str, Job]:
    """By idempotency key, the first job of those among ``requests``, digests by the owner's key, that it came of. For a
    request that was right when it came first and is not now: its key answers for it all the same."""
    found = Job.objects.filter(idempotency_owner=owner, idempotency_key__in=requests) if owner and requests else ()
    return {
        str(job.idempotency_key): job for job in found if requests[str(job.idempotency_key)] == job.idempotency_digest
    }


def _same(new: NewJob, first: Job) -> bool:
    """Whether both came of the same request; of the same payload, where that is all that is known."""
    if new.idempotency_digest and first.idempotency_digest:
        return new.idempotency_digest == first.idempotency_digest
    return first.payload == json.loads(new.payload) and (not new.idempotency_owner or first.task == new.task)


def _may_share(new: NewJob) -> bool:
    """Whether others may commit with it: not within the caller's own transaction, and not with an idempotency key,
    which may have to wait for somebody's transaction that has inserted the same."""
    connection = transaction.get_connection()
    # One that is not open yet has the setting's word. It may stay closed: another caller's connection may do.
    autocommit = connection.autocommit if connection.connection is not None else connection.settings_dict["AUTOCOMMIT"]
    return autocommit and not connection.in_atomic_block and new.idempotency_key is None


_group_commit = GroupCommit(store)


def _after_fork() -> None:
    """The threads that wait, and the one that leads them, are the parent's."""
    global _group_commit
    _group_commit = GroupCommit(store)


os.register_at_fork(after_in_child=_after_fork)


def publish_on_commit(jobs: Iterable[Job | NewJob]) -> None:
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
    problems += text_problems(
        idempotency_key=request.idempotency_key or "",
        correlation_id=request.correlation_id,
        requested_by=request.requested_by,
    )
    problems += requests.check_reply_to(request.reply_to) if request.reply_to else []
    if problems:
        raise InvalidJob(problems)


def text_problems(**texts: str) -> list[dict[str, str]]:
    """What keeps the ``texts``, by field, out of their columns."""
    problems: list[dict[str, str]] = []
    for field, text in texts.items():
        if len(text) > MAX_TEXT:
            problems.append({"field": field, "message": f"has {len(text)} characters and may have {MAX_TEXT}"})
        if "\0" in text:
            problems.append({"field": field, "message": "holds a NUL character"})
        if not _is_utf8(text):
            problems.append({"field": field, "message": "holds half of a surrogate pair, which is no character"})
    return problems


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _metadata(metadata: dict[str, Any] | None) -> str:
    if metadata is not None and not isinstance(metadata, dict):
        raise InvalidJob([{"field": "metadata", "message": "is an object"}])
    return json_text("metadata", metadata, MAX_METADATA_BYTES) if metadata else "{}"
