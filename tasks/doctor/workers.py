"""The workers, as their rows tell: alive, on time, and able to end what runs too long."""

from collections.abc import Iterator
from datetime import timedelta

from celery import current_app
from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now

from tasks.doctor.check import Check, Finding
from tasks.doctor.database import MOST_SKEW_SECONDS
from tasks.doctor.limits import MARGIN_SECONDS, longest_task
from tasks.models import WorkerProcess

# A sign of life comes every 2 s; one that meets a locked row (2 s) and a new connection (5 s) comes 9 s after the last.
LEAST_STALE_SECONDS = 10.0
# One that was killed longer ago was seen to, or is not missed.
RECENTLY = timedelta(hours=12)


def live_workers() -> QuerySet[WorkerProcess]:
    """Those that gave a sign of life lately and have not signed off, by name."""
    return WorkerProcess.objects.filter(stopped_at=None, seen_at__gte=Now() - _silence()).order_by("name", "pid")


def alive() -> Iterator[Finding]:
    if not live_workers().exists():
        yield Finding("no worker is alive: jobs are accepted and wait", "Start one: `celery -A project worker`.")


def silent() -> Iterator[Finding]:
    """Workers that fell silent without signing off, and whose name no worker has taken up since."""
    gone = WorkerProcess.objects.filter(
        stopped_at=None, seen_at__lt=Now() - _silence(), seen_at__gte=Now() - RECENTLY
    ).order_by("name", "started_at")
    for worker in gone:
        if not WorkerProcess.objects.filter(name=worker.name, started_at__gt=worker.started_at).exists():
            yield Finding(
                f"{worker} on {worker.host} was last heard of at {worker.seen_at:%Y-%m-%d %H:%M:%S} UTC, and never "
                "signed off",
                "It was killed (see the kernel's log for its memory), or its host or network is away. Start it again.",
            )


def clocks() -> Iterator[Finding]:
    for worker in live_workers():
        skew = worker.clock_skew_seconds
        if skew is not None and abs(skew) > MOST_SKEW_SECONDS:
            direction = "ahead of" if skew > 0 else "behind"
            yield Finding(
                f"the clock of {worker.host}, where {worker.name} runs, is {abs(skew):.1f} s {direction} the "
                "database's",
                "Run a time service (chrony, systemd-timesyncd) there.",
            )


def pools() -> Iterator[Finding]:
    """Only processes can be ended from outside; a thread, or the worker itself, can not."""
    for worker in live_workers():
        longest = longest_task(worker.queues)
        if worker.pool not in ("", "prefork") and longest:
            yield Finding(
                f"{worker.name} has a pool of kind {worker.pool}, which ends nothing at its time limit: {longest.name} "
                f"({longest.time_limit_seconds:g} s) may hold its slot for ever",
                "Start it with `--pool prefork`.",
            )


def held_messages() -> Iterator[Finding]:
    """RabbitMQ counts prefetch per queue: a worker with n queues holds n messages a process, one running, the others
    unacknowledged behind it."""
    timeout = settings.TASKS_BROKER_ACK_TIMEOUT_SECONDS
    multiplier = max(1, current_app.conf.worker_prefetch_multiplier)
    for worker in live_workers():
        limits = [spec.time_limit_seconds for queue in worker.queues if (spec := longest_task([queue]))]
        needed = sum(limits) * multiplier + MARGIN_SECONDS
        if len(limits) > 1 and needed > timeout:
            yield Finding(
                f"{worker.name} takes tasks from {len(limits)} queues and may hold a message for {needed:g} s when all "
                f"of them run long; the broker waits for {timeout} s",
                "Give its queues to several workers (-Q), or raise consumer_timeout and BROKER_ACK_TIMEOUT_SECONDS.",
            )


def staleness() -> Iterator[Finding]:
    stale = settings.TASKS_WORKER_STALE_SECONDS
    if stale < LEAST_STALE_SECONDS:
        yield Finding(
            f"WORKER_STALE_SECONDS is {stale:g}: a worker whose database connection must be opened anew is taken for "
            "lost, and its jobs run twice",
            f"Set WORKER_STALE_SECONDS to {LEAST_STALE_SECONDS:g} or more; the default is 20.",
        )


def one_host_for_sqlite() -> Iterator[Finding]:
    """A file that two hosts write over a network file system gets corrupted; two copies of it disagree."""
    if connection.vendor != "sqlite":
        return
    hosts = sorted(set(live_workers().values_list("host", flat=True)))
    if len(hosts) > 1:
        yield Finding(
            f"workers on {', '.join(hosts)} share one SQLite file", "Move to PostgreSQL, or run workers on one host."
        )


def _silence() -> timedelta:
    return timedelta(seconds=settings.TASKS_WORKER_STALE_SECONDS)


_ROWS = ("database", "migrations")
CHECKS = (
    Check("workers", "at least one is alive", alive, needs=_ROWS),
    Check("silent-workers", "none fell silent without signing off", silent, needs=_ROWS),
    Check("worker-clocks", f"each agrees with the database within {MOST_SKEW_SECONDS:g} s", clocks, needs=_ROWS),
    Check("pools", "each can end what outlives its time limit", pools, needs=_ROWS),
    Check("held-messages", "none may hold a message for longer than the broker waits", held_messages, needs=_ROWS),
    Check("stale-seconds", "WORKER_STALE_SECONDS outlasts several signs of life", staleness),
    Check(
        "sqlite-hosts", "all workers write the database from one host, or it is a server", one_host_for_sqlite, _ROWS
    ),
)
