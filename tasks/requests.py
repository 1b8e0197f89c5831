"""Request-reply: who waits for an outcome, how long they wait, and what came too late for them.

A reply is never handed to anybody but whoever asked: it goes to the queue that they named, under their correlation id,
or is kept here for them to fetch.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import InterfaceError, OperationalError, connection
from django.db.models import Count, Min, Q
from django.db.models.functions import Now
from django.utils import timezone
from pydantic import BaseModel

from tasks import brokers, waiting
from tasks.errors import CallFailed, CallTimedOut, InvalidJob
from tasks.models import Job, Request
from tasks.states import FINAL, JobState
from tasks.topology import TOPOLOGY, UNROUTED_QUEUE

MAX_REPLY_TO_BYTES = 255
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"
OWED = Q(answered_at=None, timed_out_at=None, trouble="") & ~Q(reply_to="")
"""Replies that are to be sent once their job has ended."""
MOST_MEASURED = 10_000

_OURS = frozenset({*TOPOLOGY.queue_names, *(queue.dead_name for queue in TOPOLOGY.queues), UNROUTED_QUEUE})


# Asking


def check_reply_to(reply_to: str) -> list[dict[str, str]]:
    """What is wrong with the name of a queue that a reply is to be sent to."""
    if not brokers.replies_to_queues():
        message = f"{brokers.scheme()}:// has no queues for replies: follow the job over HTTP"
        return [{"field": "reply_to", "message": message}]
    if len(reply_to.encode("utf-8", "surrogatepass")) > MAX_REPLY_TO_BYTES or not reply_to.isprintable():
        return [{"field": "reply_to", "message": f"is the name of a queue, of at most {MAX_REPLY_TO_BYTES} bytes"}]
    if reply_to in _OURS or (reply_to.startswith("amq.") and not reply_to.startswith(f"{DIRECT_REPLY_TO}.")):
        return [{"field": "reply_to", "message": f"{reply_to!r} is not a queue of yours: name one that is"}]
    return []


@dataclass(frozen=True)
class Asked:
    """That ``reply_to`` waits for the outcome of a job."""

    job_id: UUID
    reply_to: str
    correlation_id: str
    requested_by: str


def ask(asked: Iterable[Asked]) -> None:
    """Owe each a reply, in the caller's transaction. What was asked before is not asked again."""
    rows = [Request(**vars(each)) for each in asked]
    if rows:
        Request.objects.bulk_create(rows, ignore_conflicts=True)


def call(
    task: str, payload: BaseModel | dict[str, Any] | None = None, *, timeout_seconds: float = 10.0, **options: Any
) -> Any:
    """What the job of ``task`` returned, once it has; ``options`` are those of ``enqueue``.

    Raises CallTimedOut after ``timeout_seconds``: the job goes on, and ``late_reply`` has what comes of it. CallFailed
    where it died or was cancelled, and what ``enqueue`` raises. Not within a transaction: the job would begin when that
    is committed, and so never while somebody waits in it.
    """
    from tasks.dispatch import enqueue  # it owes replies, which is done here

    if connection.in_atomic_block:
        raise InvalidJob([{"field": "task", "message": "can not be called in a transaction: call it after the commit"}])
    correlation_id = options.pop("correlation_id", "") or str(uuid4())
    job = enqueue(task, payload, correlation_id=correlation_id, **options)
    wait(job, timeout_seconds, requested_by=job.requested_by, correlation_id=correlation_id, limited=False)
    ended = Job.objects.get(pk=job.pk)
    if not ended.is_final:
        raise CallTimedOut(job.pk, correlation_id, timeout_seconds)
    if ended.state != JobState.SUCCEEDED:
        raise CallFailed(ended.pk, ended.state, ended.error)
    return ended.result


def wait(job: Job, seconds: float, *, requested_by: str, correlation_id: str, limited: bool = True) -> bool:
    """Wait until the job has ended, at most ``seconds``. Whoever waits is seen at the desk, meanwhile and later.

    ``limited``: where MAX_WAITING_REQUESTS wait in this process, nobody waits, nothing is noted, and this is False.
    """
    deadline = Now() + timedelta(seconds=seconds)
    request = Request(job=job, requested_by=requested_by, correlation_id=correlation_id, deadline_at=deadline)
    if not waiting.wait(job.pk, seconds, limited=limited, before=request.save):
        return False
    with suppress(OperationalError, InterfaceError):  # the deadline tells as much
        has_ended = Job.objects.filter(pk=job.pk, state__in=FINAL).exists()
        outcome = {"answered_at": Now()} if has_ended else {"timed_out_at": Now()}
        Request.objects.filter(pk=request.pk).update(**outcome)
    return True


# Late


def late_reply(correlation_id: str, *, requested_by: str) -> Job | None:
    """The job that ``requested_by`` asked for under ``correlation_id``, most lately where several were, once it has
    ended; None while it has not. What nobody had fetched counts as fetched. Raises Request.DoesNotExist where they have
    not asked."""
    mine = Request.objects.filter(correlation_id=correlation_id, requested_by=requested_by)
    request = mine.select_related("job").order_by("-id").first()
    if request is None:
        raise Request.DoesNotExist(f"you have asked for nothing with the correlation id {correlation_id!r}")
    if not request.job.is_final:
        return None
    mine.filter(job=request.job, answered_at=None, fetched_at=None).update(fetched_at=Now())
    return request.job


# The desk


@dataclass(frozen=True)
class Latency:
    """Of the replies of a task in a while: how many, and how long they took in seconds."""

    task: str
    replies: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Desk:
    """How requests stand. ``waiting`` callers are owed an outcome, the longest of them since ``oldest_at``. The others
    are of the last hour: ``timed_out`` gave up, ``undeliverable`` had gone away; ``unfetched`` of them have not come
    back for what was kept."""

    waiting: int
    oldest_at: datetime | None
    timed_out: int
    undeliverable: int
    unfetched: int
    latencies: list[Latency]


def desk(span: timedelta = timedelta(hours=1)) -> Desk:
    """How requests stand now and stood in the last ``span``."""
    since = timezone.now() - span
    open_ones = Request.objects.filter(answered_at=None, fetched_at=None)
    now = timezone.now()
    still = open_ones.filter(timed_out_at=None, trouble="").filter(Q(deadline_at=None) | Q(deadline_at__gt=now))
    counts = still.aggregate(waiting=Count("pk"), oldest_at=Min("asked_at"))
    lately = Request.objects.filter(asked_at__gte=since)
    gave_up = Q(timed_out_at__isnull=False) | Q(answered_at=None, deadline_at__lte=now)
    late = gave_up | ~Q(trouble="")
    numbers = lately.aggregate(
        timed_out=Count("pk", filter=gave_up),
        undeliverable=Count("pk", filter=~Q(trouble="")),
        unfetched=Count("pk", filter=late & Q(fetched_at=None, answered_at=None, job__state__in=FINAL)),
    )
    return Desk(**counts, **numbers, latencies=_latencies(since))


def _latencies(since: datetime) -> list[Latency]:
    """By task, the one with most replies first, of the newest MOST_MEASURED replies."""
    answered = Request.objects.filter(answered_at__gte=since).order_by("-answered_at")
    took: dict[str, list[float]] = {}
    for request in answered.select_related("job").only("asked_at", "answered_at", "job__task")[:MOST_MEASURED]:
        if request.answered_at is not None:
            took.setdefault(request.job.task, []).append((request.answered_at - request.asked_at).total_seconds())
    found = [Latency(task, len(all), *_percentiles(sorted(all))) for task, all in took.items()]
    return sorted(found, key=lambda latency: (-latency.replies, latency.task))


def _percentiles(ordered: Sequence[float]) -> tuple[float, float, float]:
    """The 50th, 95th and 99th by the nearest rank."""
    p50, p95, p99 = (ordered[max(0, -(-len(ordered) * percent // 100) - 1)] for percent in (50, 95, 99))
    return p50, p95, p99
