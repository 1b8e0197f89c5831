"""Emptying a live queue, in such a way that it can be filled again: the same jobs, in the same order.

A purge takes waiting jobs from a queue: they are cancelled, and parked. It touches no message: others' may be in the
queue, and those of the jobs are dropped as duplicates when a worker claims them. That they stay so when the job is put
back, the purge uses up the number of the attempt that its message asks for: what was published before the purge asks
for an attempt that never comes, and the restored job's message, published anew, for the next. What is not restored in
time is a cancelled job like any other.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Case, DateTimeField, F, Q, QuerySet, Value, When
from django.db.models.functions import Now
from django.utils import timezone

from tasks.dispatch import publish_on_commit
from tasks.errors import InvalidOperation
from tasks.models import Job, JobEvent, Operation, OperationItem, ParkedJob
from tasks.states import JobState
from tasks.topology import TOPOLOGY
from tasks.transitions import change_all

VERBS = (Operation.Verb.PURGE, Operation.Verb.UNPURGE)
WAITING = (JobState.QUEUED, JobState.SCHEDULED, JobState.RETRYING)
DEFAULT_STATES = (JobState.QUEUED,)
AT_ONCE = 1000

Moved = tuple[set[int], dict[int, str]]
"""The items whose jobs were moved, and those whose jobs never will be, with why. The others' are held by somebody."""


def waiting(queue: str, states: Sequence[str] = DEFAULT_STATES) -> QuerySet[Job]:
    """The jobs that wait in ``queue``: those queued now and, where ``states`` says so, the scheduled and the retrying.
    Raises InvalidOperation, naming the queue or the state that is unknown."""
    problems = []
    if queue not in TOPOLOGY.queue_names:
        problems.append(
            {"field": "queue", "message": f"no queue {queue!r}; there are {', '.join(TOPOLOGY.queue_names)}"}
        )
    if not states or not set(states) <= set(WAITING):
        problems.append({"field": "states", "message": f"is a list of {', '.join(WAITING)}"})
    if problems:
        raise InvalidOperation(problems)
    return Job.objects.filter(queue=queue, state__in=states)


def parked(purge_id: UUID) -> QuerySet[Job]:
    """The jobs that the purge took and that can still be put back. Raises InvalidOperation when there is no such purge,
    or it has not ended."""
    purge = Operation.objects.filter(pk=purge_id, verb=Operation.Verb.PURGE).first()
    if purge is None:
        raise InvalidOperation([{"field": "operation", "message": f"there is no purge {purge_id}"}])
    if purge.finished_at is None:
        raise InvalidOperation([{"field": "operation", "message": "the purge still goes on; cancel it, or wait"}])
    return Job.objects.filter(parked__operation=purge, parked__delete_at__gt=Now(), state=JobState.CANCELLED)


def park(operation: Operation, items: Sequence[OperationItem]) -> Moved:
    """Cancel and park the jobs of ``items``, in the caller's transaction."""
    detail = {"requested_by": operation.requested_by, "why": operation.reason, "operation": str(operation.pk)}
    delete_at = timezone.now() + timedelta(days=settings.TASKS_DEAD_LETTER_KEEP_DAYS)
    of_job = _by_job(items)
    taken: list[Job] = []
    fits = _as_frozen(operation, items)
    for state in map(JobState, operation.query.get("states", DEFAULT_STATES)):
        has_message = state == JobState.QUEUED
        taken += change_all(
            list(of_job),
            source=state,
            target=JobState.CANCELLED,
            burn=has_message,
            kind=JobEvent.Kind.PURGED,
            detail={**detail, "state": state},
            where=fits,
            due_at=None,
            attempt_base=F("attempt_base") + int(has_message),
        )
    ParkedJob.objects.bulk_create(
        ParkedJob(
            job_id=job.pk,
            operation=operation,
            place=of_job[job.pk].place,
            state=job.state,
            due_at=job.due_at,
            delete_at=delete_at,
        )
        for job in taken
    )
    done = {of_job[job.pk].pk for job in taken}
    return done, _moved_on(items, done, ~fits)


def put_back(operation: Operation, items: Sequence[OperationItem]) -> Moved:
    """Give the parked jobs of ``items`` back the state and the time that they had, and publish those that were queued,
    in the order of ``items``; in the caller's transaction."""
    of_job = _by_job(items)
    places = ParkedJob.objects.filter(delete_at__gt=Now()).in_bulk(of_job)
    now = Operation.objects.filter(pk=operation.pk).values_list(Now(), flat=True).get()
    done: set[int] = set()
    for state in WAITING:
        ids = [job_id for job_id in of_job if job_id in places and places[job_id].state == state]
        if not ids:
            continue
        if state == JobState.QUEUED:
            # The relay, and the next purge, sort by it: a microsecond apart, the jobs keep their order.
            when: dict[str, Any] = {
                "queued_at": _each({id: now - timedelta(microseconds=n) for n, id in enumerate(reversed(ids))})
            }
        else:
            when = {"due_at": _each({id: places[id].due_at for id in ids})}
        moved = change_all(
            ids,
            source=JobState.CANCELLED,
            target=state,
            kind=JobEvent.Kind.RESTORED,
            detail={"requested_by": operation.requested_by, "operation": str(operation.pk), "state": state},
            **{"finished_at": None, **when},
        )
        rows = Job.objects.in_bulk([job.pk for job in moved])
        ParkedJob.objects.filter(job__in=rows).delete()
        done |= {of_job[job_id].pk for job_id in rows}
        if state == JobState.QUEUED:
            publish_on_commit(rows[job_id] for job_id in ids if job_id in rows)
    gone = ~Q(state=JobState.CANCELLED) | Q(parked=None) | Q(parked__delete_at__lte=Now())
    return done, _moved_on(items, done, gone)


def _as_frozen(operation: Operation, items: Sequence[OperationItem]) -> Q:
    """The jobs that are still what the purge was confirmed for: they wait in its queue, as they did, and have not run
    since."""
    of_attempt: dict[int, list[UUID]] = {}
    for item in items:
        if item.job_id:
            of_attempt.setdefault(item.attempt, []).append(item.job_id)
    unmoved = Q(pk__in=[])
    for attempt, ids in of_attempt.items():
        unmoved |= Q(pk__in=ids, attempt=attempt)
    return unmoved & Q(queue=operation.query["queue"], state__in=operation.query.get("states", DEFAULT_STATES))


def _moved_on(items: Sequence[OperationItem], done: set[int], gone: Q) -> dict[int, str]:
    left = _by_job(item for item in items if item.pk not in done)
    jobs = Job.objects.filter(gone, pk__in=left).values_list("pk", "state")
    return {left[id].pk: f"its job is {state} by now" for id, state in jobs}


def _by_job(items: Iterable[OperationItem]) -> dict[UUID, OperationItem]:
    """In the order of ``items``."""
    return {item.job_id: item for item in items if item.job_id}


def _each(moments: Mapping[UUID, datetime | None]) -> Case:
    field = DateTimeField()
    return Case(*(When(pk=id, then=Value(at, output_field=field)) for id, at in moments.items()), output_field=field)
