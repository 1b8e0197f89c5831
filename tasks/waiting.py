"""Waiting for a job's end, in a thread that has something to answer then."""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from tasks.models import Job
from tasks.polling import Poller
from tasks.states import FINAL

PAUSE_SECONDS = 0.05  # what an answer comes late, at most


class _Waiter:
    def __init__(self, job_id: UUID):
        self.job_id = job_id
        self.ended = threading.Event()


def may_end_within(job: Job, seconds: float) -> bool:
    """Whether it is worth waiting: the job has ended, or nothing keeps it from ending in time."""
    return job.is_final or job.due_at is None or job.due_at <= timezone.now() + timedelta(seconds=seconds)


def wait(job_id: UUID, seconds: float, *, limited: bool = True, before: Callable[[], object] | None = None) -> bool:
    """Wait until the job has ended, at most ``seconds``, whether the database can be reached or not. ``before`` is
    called once it is certain that somebody waits.

    Where it is ``limited``: False, at once, if MAX_WAITING_REQUESTS wait in this process already: the other threads
    have requests to answer.
    """
    waiter = _Waiter(job_id)
    with _lock:
        if limited and len(_poller) >= settings.TASKS_MAX_WAITING_REQUESTS:
            return False
        _poller.add(waiter)
    try:
        if before is not None:
            before()
        waiter.ended.wait(seconds)
    finally:
        _poller.remove(waiter)
    return True


def _look(waiters: Sequence[_Waiter]) -> None:
    ids = {waiter.job_id for waiter in waiters}
    waiting = set(Job.objects.filter(pk__in=ids).exclude(state__in=FINAL).values_list("pk", flat=True))
    for waiter in waiters:
        if waiter.job_id not in waiting:
            waiter.ended.set()


_poller = Poller(_look, pause_seconds=PAUSE_SECONDS, name="waiting for jobs")
_lock = threading.Lock()
