"""What a running task is given beside its payload."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from tasks.errors import JobCancelled
from tasks.models import Effect, Job
from tasks.states import JobState

PROGRESS_PAUSE_SECONDS = 0.5


class JobContext:
    """One attempt of one job, seen from inside.

    ``attempt`` counts from 1 over the job's whole life, replays included. ``log`` is a logger whose lines name the job.
    In a ``rehearsal`` nothing may leave: who talks to a provider in a way of their own calls ``would_send`` instead.
    """

    rehearsal = False

    def __init__(self, job_id: UUID, attempt: int, *, task: str, metadata: dict[str, Any], requested_by: str):
        self.job_id = job_id
        self.attempt = attempt
        self.task = task
        self.metadata = metadata
        self.requested_by = requested_by
        self.log = _JobLog(logging.getLogger(f"jobs.{task}"), {"job_id": str(job_id), "attempt": attempt})
        self._next_progress = 0.0

    def progress(self, done: int, total: int | None = None, note: str = "") -> None:
        """Show that ``done`` of ``total`` (None: unknown) is finished. Written at most twice a second, and at the end;
        cheap enough to call for every row."""
        now = time.monotonic()
        if now < self._next_progress and done != total:
            return
        self._next_progress = now + PROGRESS_PAUSE_SECONDS
        with self._unless_away("progress was not written"):
            self._mine().update(progress_done=max(0, done), progress_total=total, progress_note=note[:200])

    def checkpoint(self) -> None:
        """A place where it is safe to stop. Raises JobCancelled when the job was cancelled, or when this attempt was
        given up for lost and another has taken its place; let it pass. With the database away the work goes on."""
        wanted = True
        with self._unless_away("nobody can say whether the job was cancelled"):
            wanted = self._mine().filter(cancel_requested_at=None).exists()
        if not wanted:
            raise JobCancelled(f"job {self.job_id} was cancelled, or attempt {self.attempt} superseded")

    def once(self, key: str, effect: Callable[[], Any]) -> Any:
        """Run ``effect`` unless an earlier attempt of this job already did, and return its (JSON-able) value.

        The memory is written right after the effect: only a death between the two repeats it. Where the other side
        offers an idempotency key, pass it one made from the job id as well.
        """
        known = Effect.objects.filter(job_id=self.job_id, key=key).first()
        if known is not None:
            self.log.info("effect %s was done at %s; not repeated", key, known.at)
            return known.value
        value = effect()
        with transaction.atomic():
            Effect.objects.update_or_create(
                job_id=self.job_id, key=key, defaults={"value": value, "at": timezone.now()}
            )
        return value

    def would_send(self, channel: str, recipients: Sequence[str], subject: str = "") -> None:
        """In a rehearsal: show that ``recipients`` would now get a message by ``channel`` ("sms", "push"). Mail by
        Django needs no word. RuntimeError in an attempt that counts, which would lose the message."""
        raise RuntimeError("this is no rehearsal: send the message")

    @contextmanager
    def _unless_away(self, otherwise: str) -> Iterator[None]:
        """An outage of the database is no reason to fail work that only wanted to show or to ask something."""
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            if connection.in_atomic_block:  # the task's own transaction is lost, and it must know
                raise
            connection.close()
            self.log.warning("%s: %s", otherwise, error)

    def _mine(self) -> QuerySet[Job]:
        return Job.objects.filter(pk=self.job_id, state=JobState.RUNNING, attempt=self.attempt)


class _JobLog(logging.LoggerAdapter):
    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        kwargs["extra"] = {**(self.extra or {}), **kwargs.get("extra", {})}
        return f"[{kwargs['extra']['job_id']}.{kwargs['extra']['attempt']}] {msg}", kwargs
