"""What a pool child can not report itself: heartbeats, lost workers, time limits, killed children."""

import logging
import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from tasks.errors import TaskPlatformError
from tasks.models import DeadLetter, Job, Release, WorkerProcess
from tasks.registry import registry
from tasks.retry import RetryPolicy
from tasks.states import JobState
from tasks.worker.outcome import Outcome
from tasks.worker.recording import Ended, record

logger = logging.getLogger(__name__)


def _host() -> str:
    """This machine, or this container: process ids mean something within one of them alone."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return socket.gethostname()
    return socket.gethostname() if namespace == THE_MACHINES else f"{socket.gethostname()} ({namespace})"


THE_MACHINES = 0xEFFFFFFC  # Linux's number of the namespace that is no container's
HOST = _host()


class WorkerLost(TaskPlatformError):
    """The process that ran the attempt is gone."""


class TimeLimitExceeded(TaskPlatformError):
    """The attempt was ended at its task's time limit."""


def register_worker(name: str, queues: list[str], *, pool: str = "", concurrency: int = 0) -> WorkerProcess:
    """The row of this life of this process; its release, if it has one, is known from now on."""
    if settings.TASKS_RELEASE:
        Release.objects.bulk_create([Release(name=settings.TASKS_RELEASE)], ignore_conflicts=True)
    return WorkerProcess.objects.create(
        name=name, host=HOST, pid=os.getpid(), queues=queues, pool=pool, concurrency=concurrency
    )


def beat(worker: WorkerProcess) -> None:
    """A sign of life, by the database's clock: hosts may disagree about the time. None after ``sign_off``."""
    WorkerProcess.objects.filter(pk=worker.pk, stopped_at=None).update(seen_at=Now(), clock_at=timezone.now())


def sign_off(worker: WorkerProcess) -> None:
    """The worker stopped in good order."""
    WorkerProcess.objects.filter(pk=worker.pk).update(seen_at=Now(), stopped_at=Now())


def is_gone(owner: WorkerProcess | None, me: WorkerProcess) -> bool:
    """Whether ``owner`` can not be running anything any more, as far as ``me`` can tell without waiting."""
    if owner is None or owner.stopped_at is not None:
        return True
    if owner.pk == me.pk or owner.host != me.host:
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


class Silence:
    """Tells which workers have stopped saying that they live, by watching and not by comparing clocks.

    A worker is silent once its latest sign of life has stayed the same through ``WORKER_STALE_SECONDS`` of looks; a gap
    between two of them does not count. So a clock that jumps proves nothing, nor does an outage of the database, in
    which nobody could speak, nor a watcher that was stopped for a while.
    """

    LONGEST_GAP_SECONDS = 6.0  # twice the pause between looks

    def __init__(self) -> None:
        self._heard: dict[UUID, tuple[datetime, float]] = {}
        self._looked_at = -math.inf

    def look(self, signs: Mapping[UUID, datetime], *, now: float | None = None) -> set[UUID]:
        """The silent ones among the workers of ``signs``, their latest signs of life. ``now`` is a monotonic time."""
        now = time.monotonic() if now is None else now
        gap, self._looked_at = now - self._looked_at, now
        if gap > self.LONGEST_GAP_SECONDS:  # nobody watched: and half of what was seen before must be seen again
            latest = now - settings.TASKS_WORKER_STALE_SECONDS / 2
            self._heard = {id: (sign, max(since + gap, latest)) for id, (sign, since) in self._heard.items()}
        before, self._heard = self._heard, {}
        for id, sign in signs.items():
            known = before.get(id)
            self._heard[id] = known if known and known[0] == sign else (sign, now)
        return {id for id, (_, since) in self._heard.items() if now - since >= settings.TASKS_WORKER_STALE_SECONDS}


def record_lost_attempts(silence: Silence, me: WorkerProcess | None = None) -> int:
    """Record as lost every running attempt whose worker has gone or fallen silent. Returns how many.

    ``me`` is never judged by its own silence: that it asks is a sign of life.
    """
    living = WorkerProcess.objects.filter(stopped_at=None, job__state=JobState.RUNNING).values_list("pk", "seen_at")
    silent = silence.look(dict(living.distinct()))
    lost = Job.objects.filter(state=JobState.RUNNING).filter(
        Q(worker=None) | Q(worker__stopped_at__isnull=False) | Q(worker__in=silent)
    )
    if me is not None:
        lost = lost.exclude(worker=me)
    with transaction.atomic():  # each worker takes other rows than its neighbours
        jobs = list(lost.select_for_update(skip_locked=True, no_key=True, of=("self",)).select_related("worker")[:200])
        return sum(_recorded_lost(job, "its worker went silent") for job in jobs)


class Forgotten:
    """Finds attempts that the database says this worker runs, and the worker knows nothing of.

    They come from a commit whose answer was lost with the connection. An attempt must be missed twice in a row: it
    may just have ended, its outcome on the way into the database.
    """

    def __init__(self) -> None:
        self._suspects: set[str] = set()

    def record(self, worker: WorkerProcess, in_hand: Callable[[str], bool]) -> int:
        """Record as lost what was missed now and the time before. Returns how many."""
        mine = {f"{job.pk}.{job.attempt}": job for job in Job.objects.filter(state=JobState.RUNNING, worker=worker)}
        missed = {attempt_id for attempt_id in mine if not in_hand(attempt_id)}
        forgotten, self._suspects = missed & self._suspects, missed
        return sum(_recorded_lost(mine[attempt_id], "its worker does not know of it") for attempt_id in forgotten)


def _recorded_lost(job: Job, why: str) -> bool:
    """As ``record_lost``; one row that can not be recorded does not keep the others from it."""
    try:
        with transaction.atomic():
            record_lost(job, why)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("the lost attempt %s.%d can not be recorded", job.pk, job.attempt)
        return False
    return True


def record_lost(job: Job, why: str) -> None:
    """A counted attempt, with the same retry rules as any failure."""
    error = WorkerLost(f"attempt {job.attempt} on {job.worker or 'an unknown worker'}: {why}")
    evidence = _of_the_worker(job.worker) if job.worker else {}
    record([Ended(job, lost_outcome(job, error, DeadLetter.Reason.WORKER_LOST, evidence), str(job.worker or ""))])


def _of_the_worker(worker: WorkerProcess) -> dict[str, Any]:
    return {
        "worker": worker.name,
        "host": worker.host,
        "process_id": worker.pid,
        "last_sign_of_life": worker.seen_at.isoformat(),
    }


def lost_outcome(job: Job, error: Exception, reason: str, evidence: dict[str, Any] | None = None) -> Outcome:
    """How the policy of the job's task answers ``error``; a task this build does not know gets the default policy.

    A job that keeps taking processes with it is dead at POISON_LIMIT, whatever its policy has left.
    """
    policy = registry.get(job.task).retry if job.task in registry else RetryPolicy()
    outcome = Outcome.of_error(error, policy, job.attempt - job.attempt_base, reason=reason)
    outcome = replace(outcome, traceback="", evidence=evidence or {})  # nothing was raised that could be traced
    if outcome.lost and job.lost_deliveries + 1 >= settings.TASKS_POISON_LIMIT:
        outcome = replace(outcome, retry_in_seconds=None)
    return outcome
