"""What became of each run of a job: from what django-celery-results keeps, and from the job's events where it has no
record."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django_celery_results.models import TaskResult

from tasks.models import Job, JobEvent
from tasks.states import JobState

_WITHOUT_OUTCOME = (JobEvent.Kind.RUNNING, JobEvent.Kind.HANDED_BACK)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One run. ``status`` is Celery's word; without a record it is STARTED, HANDED_BACK, NEVER_BEGAN or UNKNOWN.

    ``error`` is the type and the first line of what it ended in, ``log`` what a worker saw of a process that it lost.
    """

    number: int
    status: str
    worker: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str = ""
    traceback: str = ""
    log: str = ""

    @property
    def seconds(self) -> float | None:
        began, ended = self.started_at, self.finished_at
        return (ended - began).total_seconds() if began and ended and ended >= began else None


def attempts_of(job: Job, numbers: Sequence[int]) -> list[Attempt]:
    """Those of the job's attempts with the ``numbers``, in their order. Two queries for any number of them."""
    found: dict[str, Any] = {
        row.task_id: row for row in TaskResult.objects.filter(task_id__in=[f"{job.pk}.{n}" for n in numbers])
    }
    events = job.events.filter(kind__in=_WITHOUT_OUTCOME, attempt__in=numbers).values_list("attempt", "kind")
    told = set(events) if len(found) < len(numbers) else set()
    return [_attempt(job, n, found.get(f"{job.pk}.{n}"), {kind for at, kind in told if at == n}) for n in numbers]


def error_line(row: TaskResult) -> str:
    """Type and first line of the attempt's error; "" when it has none."""
    try:
        shown = json.loads(row.result or "null")
    except ValueError:
        return ""
    if not isinstance(shown, dict) or "exc_type" not in shown:
        return ""
    first = (str(shown.get("exc_message") or "").strip().splitlines() or [""])[0]
    return f"{shown['exc_type']}: {first}" if first else str(shown["exc_type"])


def _attempt(job: Job, number: int, row: Any, kinds: set[str]) -> Attempt:
    if row is not None:
        return Attempt(
            number=number,
            status=row.status,
            worker=row.worker or "",
            started_at=row.date_started,
            finished_at=row.date_done,
            error=error_line(row),
            traceback=row.traceback or "",
            log="\n".join(_evidence(row).get("log") or []),
        )
    if number == job.attempt and job.state == JobState.RUNNING:
        worker = job.worker.name if job.worker else ""
        return Attempt(number=number, status="STARTED", worker=worker, started_at=job.started_at)
    return Attempt(number=number, status=_without_record(kinds))


def _without_record(kinds: set[str]) -> str:
    """What became of an attempt that left no record, by the kinds of its events."""
    if JobEvent.Kind.HANDED_BACK in kinds:
        return "HANDED_BACK"
    return "UNKNOWN" if JobEvent.Kind.RUNNING in kinds else "NEVER_BEGAN"


def _evidence(row: TaskResult) -> dict[str, Any]:
    """What a worker saw of the process that was lost with the attempt; {} for one that came back."""
    try:
        return dict(json.loads(row.meta or "{}").get("evidence") or {})
    except (ValueError, AttributeError):
        return {}
