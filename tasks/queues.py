"""Live queues: how each stands, and pausing and resuming them.

A pause is a row, and every worker reads the rows about once a second (worker/steps.py): it cancels its consumer of a
queue that is paused and takes it up again afterwards. Nothing else changes. Jobs are enqueued as ever, their messages
wait in the broker, and what has begun runs on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from tasks import audit, brokers
from tasks.brokers import QueueMissing
from tasks.doctor.workers import live_workers
from tasks.errors import BrokerUnavailable, InvalidOperation
from tasks.models import UNFINISHED, Job, PausedQueue
from tasks.states import FINAL, JobState
from tasks.topology import TOPOLOGY

# Pausing


def pause(name: str, *, requested_by: str, reason: str = "", until: datetime | None = None) -> PausedQueue:
    """Have no worker begin a job of the queue, within about two seconds, until ``until`` or until it is resumed. What
    was paused already gets the new end and reason, and keeps its beginning.

    Raises InvalidOperation for a queue there is not and for a moment that has passed or has no time zone, InvalidReason
    for more than audit.MAX_REASON characters.
    """
    _require_known(name)
    if until is not None and timezone.is_naive(until):
        raise InvalidOperation([{"field": "until", "message": "has no time zone; write it like 2026-03-01T12:30Z"}])
    if until is not None and until <= timezone.now():
        raise InvalidOperation([{"field": "until", "message": f"{until:%c %Z} has passed; give a moment to come"}])
    with transaction.atomic():
        before = _lasting().select_for_update().filter(queue=name).first()
        entry = audit.record(requested_by, "queues.pause", name, reason=reason, detail={"until": until})
        values = {"until": until, "paused_by": entry.actor, "reason": entry.reason}
        since = before.since if before else Now()
        PausedQueue.objects.update_or_create(queue=name, defaults={**values, "since": since})
    return PausedQueue.objects.get(queue=name)


def resume(name: str, *, requested_by: str) -> bool:
    """Let the queue's jobs begin again, within about two seconds. Whether it was paused. Raises InvalidOperation for a
    queue there is not."""
    _require_known(name)
    with transaction.atomic():
        was_paused = bool(_lasting().filter(queue=name).update(until=Now()))
        if was_paused:
            audit.record(requested_by, "queues.resume", name)
    return was_paused


def paused() -> dict[str, PausedQueue]:
    """The pauses that last, by queue."""
    return {row.queue: row for row in _lasting()}


def is_paused(name: str) -> bool:
    return _lasting().filter(queue=name).exists()


def standing(grace: timedelta) -> set[str]:
    """Queues that are paused, or were less than ``grace`` ago: what waits in them waits for a good reason."""
    rows = PausedQueue.objects.filter(Q(until=None) | Q(until__gt=Now() - grace))
    return set(rows.values_list("queue", flat=True))


def paused_names() -> frozenset[str]:
    """As ``paused``, for whoever asks once a second."""
    return frozenset(_lasting().order_by().values_list("queue", flat=True))


def _lasting() -> QuerySet[PausedQueue]:
    """By the database's clock: hosts disagree about the time."""
    return PausedQueue.objects.filter(Q(until=None) | Q(until__gt=Now()))


def _require_known(name: str) -> None:
    if name not in TOPOLOGY.queue_names:
        message = f"no queue {name!r}; there are {', '.join(TOPOLOGY.queue_names)}"
        raise InvalidOperation([{"field": "queue", "message": message}])


# How they stand


@dataclass(frozen=True)
class QueueState:
    """``messages`` are those ready in the broker; None where nobody can tell, and then ``trouble`` says why. ``jobs``
    counts the unfinished ones by state. ``workers`` are alive and take the queue whenever it is not paused."""

    name: str
    messages: int | None
    trouble: str
    jobs: dict[str, int]
    workers: int
    pause: PausedQueue | None


def states(names: tuple[str, ...] = TOPOLOGY.queue_names) -> list[QueueState]:
    """How each of the queues stands. Jobs that have ended are not read, and a broker that is away is no error."""
    trouble, depths = "", dict[str, int | None]()
    try:
        depths = queue_depths(names)
    except BrokerUnavailable:
        trouble = "the broker can not be asked"
    jobs, pauses = job_counts(), paused()
    taken = [name for worker in live_workers() for name in worker.queues]
    missing = "the broker has no such queue: run `manage.py topology apply`"
    return [
        QueueState(
            name,
            messages=depths.get(name),
            trouble=trouble or (missing if depths[name] is None else ""),
            jobs={state.value: jobs.get((state, name), 0) for state in JobState if state not in FINAL},
            workers=taken.count(name),
            pause=pauses.get(name),
        )
        for name in names
    ]


def queue_depths(names: tuple[str, ...] = TOPOLOGY.queue_names) -> dict[str, int | None]:
    """Messages ready in each queue; None for one that does not exist. Raises BrokerUnavailable: unknown is not zero."""
    broker = brokers.connect()
    try:
        return dict(_depths(broker, names))
    finally:
        broker.close()


def _depths(broker: brokers.Broker, names: tuple[str, ...]) -> Iterator[tuple[str, int | None]]:
    for name in names:
        try:
            yield name, broker.depth(name)
        except QueueMissing:
            yield name, None


def job_counts() -> dict[tuple[str, str], int]:
    """Jobs that have not ended, by (state, queue): as many index entries are read as there are such jobs."""
    rows = Job.objects.filter(UNFINISHED).order_by().values_list("state", "queue").annotate(found=Count("pk"))
    return {(state, queue): found for state, queue, found in rows}
