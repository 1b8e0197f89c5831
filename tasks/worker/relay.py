"""The relay: publish what is due and what is missing. It runs in every worker; rows are taken with SKIP LOCKED."""

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from tasks import queues
from tasks.brokers import Broker, JobMessage, QueueMissing
from tasks.errors import BrokerUnavailable
from tasks.models import Job, JobEvent
from tasks.states import JobState
from tasks.topology import TOPOLOGY

logger = logging.getLogger(__name__)

BATCH = 500


class ClaimMarks:
    """How far each queue has been consumed, as seen by this worker's claims.

    A queue hands out messages in order, so a job that was queued before one that was claimed a while ago, and is still
    not claimed, has no message any more.
    """

    def __init__(self) -> None:
        self._marks: dict[str, deque[tuple[float, datetime]]] = defaultdict(deque)
        self._lock = threading.Lock()

    def note(self, job: Job, *, now: float | None = None) -> None:
        """``job`` has just been claimed."""
        if job.queued_at is None:
            return
        now = time.monotonic() if now is None else now
        with self._lock:
            marks = self._marks[job.queue]
            if not marks or (job.queued_at > marks[-1][1] and now - marks[-1][0] >= 1):  # one a second is enough
                marks.append((now, job.queued_at))

    def forget(self, queue: str) -> None:
        """Nobody claims from it just now, and what went back to it may have been queued before what was claimed."""
        with self._lock:
            self._marks.pop(queue, None)

    def passed(self, queue: str, grace_seconds: float, *, now: float | None = None) -> datetime | None:
        """Jobs queued before this moment should have been claimed more than ``grace_seconds`` ago. None: unknown."""
        now = time.monotonic() if now is None else now
        with self._lock:
            marks = self._marks[queue]
            while len(marks) > 1 and now - marks[1][0] > grace_seconds:
                marks.popleft()
            return marks[0][1] if marks and now - marks[0][0] > grace_seconds else None


class Pace:
    """How many jobs are published again at once: one after a failure, and ever more once the broker takes them.

    A broker that is reached and takes nothing, say one without memory, then costs one line of one job's history at a
    time, and not five hundred.
    """

    def __init__(self) -> None:
        self.jobs = BATCH

    @contextmanager
    def tried(self) -> Iterator[None]:
        """Learn from how the block ends."""
        try:
            yield
        except BrokerUnavailable:
            self.jobs = 1
            raise
        self.jobs = min(BATCH, self.jobs * 8)


def publish_due(broker: Broker) -> int:
    """Queue and publish the scheduled and retrying jobs whose time has come. Returns how many.

    A death between the commit and the publishing leaves jobs without a message, which ``publish_missing`` finds.
    """
    waiting = (JobState.SCHEDULED, JobState.RETRYING)
    with transaction.atomic():
        jobs = list(
            Job.objects.select_for_update(skip_locked=True, no_key=True)
            .filter(state__in=waiting, due_at__lte=Now())
            .order_by("due_at")[:BATCH]
        )
        _queue_again(jobs, JobEvent.Kind.QUEUED)
    _publish(broker, jobs)
    return len(jobs)


def publish_missing(broker: Broker, marks: ClaimMarks, pace: Pace) -> int:
    """Publish queued jobs again whose message is gone. Returns how many.

    Gone means: their queue is empty, or has gone past them, for longer than the grace. A wrong guess costs one
    duplicate message, which the claim drops. Of a queue that is paused nothing can be told, nor until it has been going
    again for as long.
    """
    grace = timedelta(seconds=settings.TASKS_RELAY_GRACE_SECONDS)
    found = 0
    standing = queues.standing(grace)
    for queue in TOPOLOGY.queue_names:
        if queue in standing:
            marks.forget(queue)
            continue
        overdue = Job.objects.filter(state=JobState.QUEUED, queue=queue, queued_at__lt=Now() - grace)
        if not overdue.exists():
            continue
        if _depth(broker, queue) > 0:
            passed = marks.passed(queue, grace.total_seconds())
            if passed is None:
                continue
            overdue = overdue.filter(queued_at__lt=passed)
        with transaction.atomic():
            jobs = list(overdue.select_for_update(skip_locked=True, no_key=True).order_by("queued_at")[: pace.jobs])
            _queue_again(jobs, JobEvent.Kind.REPUBLISHED)
        if jobs:
            logger.warning("%d jobs of %s had no message in the broker; published again", len(jobs), queue)
            with pace.tried():
                _publish(broker, jobs)
            found += len(jobs)
    return found


def _depth(broker: Broker, queue: str) -> int:
    try:
        return broker.depth(queue)
    except QueueMissing:
        logger.error("queue %s was missing; declared again", queue)
        broker.apply_topology()
        return 0


def _queue_again(jobs: Sequence[Job], kind: str) -> None:
    ids = [job.pk for job in jobs]
    Job.objects.filter(Q(pk__in=ids)).update(state=JobState.QUEUED, queued_at=Now(), due_at=None)
    JobEvent.objects.bulk_create(JobEvent(job_id=job.pk, kind=kind, attempt=job.attempt) for job in jobs)


def _publish(broker: Broker, jobs: Sequence[Job]) -> None:
    if jobs:
        broker.publish([JobMessage(job.pk, job.attempt + 1, job.task, job.queue) for job in jobs])
