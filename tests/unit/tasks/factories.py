"""Rows for tests, made the way the platform makes them."""

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from django.utils import timezone

from tasks.dead_letters.burial import bury
from tasks.models import DeadLetter, FailureGroup, Job, JobEvent, WorkerProcess
from tasks.states import JobState
from tasks.worker.supervision import HOST


def make_worker(**values: Any) -> WorkerProcess:
    return WorkerProcess.objects.create(**{"name": "w@test", "host": HOST, "pid": 1, **values})


def make_job(state: str = JobState.QUEUED, **values: Any) -> Job:
    now = timezone.now()
    defaults: dict[str, Any] = {"task": "probe.echo", "queue": "work-queue", "payload": {"text": "x"}, "state": state}
    if state == JobState.QUEUED:
        defaults |= {"queued_at": now}
    elif state in (JobState.SCHEDULED, JobState.RETRYING):
        defaults |= {"due_at": now}
    elif state == JobState.RUNNING:
        defaults |= {"attempt": 1, "queued_at": now, "started_at": now}
    else:
        defaults |= {"attempt": 1, "finished_at": now}
    return Job.objects.create(**{**defaults, **values})


def kinds(job: Job) -> list[str]:
    """What the job's history says, oldest first."""
    return list(JobEvent.objects.filter(job=job).order_by("id").values_list("kind", flat=True))


def told(events: Iterable[JobEvent]) -> dict[str, Any]:
    """What a job's row says of its state and attempts, as its ``events``, oldest first, have them."""
    row: dict[str, Any] = {"state": None, "attempt": 0, "attempt_base": 0, "lost_deliveries": 0}
    for event in events:
        if event.kind in JobState.values:
            row |= {"state": event.kind, "attempt": event.attempt}
            if event.detail.get("reason") == DeadLetter.Reason.WORKER_LOST:
                row["lost_deliveries"] += 1
            elif event.kind == JobState.RETRYING:
                row["lost_deliveries"] = 0
        elif event.kind == JobEvent.Kind.HANDED_BACK:
            row |= {"state": JobState.QUEUED, "attempt_base": row["attempt_base"] + 1}
        elif event.kind == JobEvent.Kind.PURGED:
            burnt = event.detail["state"] == JobState.QUEUED
            base = row["attempt_base"] + burnt
            row |= {"state": JobState.CANCELLED, "attempt": event.attempt, "attempt_base": base}
        elif event.kind == JobEvent.Kind.RESTORED:
            row |= {"state": event.detail["state"]}
        elif event.kind == JobEvent.Kind.REPLAYED:
            row |= {"state": JobState.QUEUED, "attempt_base": event.attempt, "lost_deliveries": 0}
    return row


def make_letter(*, error: str = "no\nmore", reason: str = DeadLetter.Reason.EXHAUSTED, **values: Any) -> DeadLetter:
    """The letter of a job that died in its third attempt."""
    job = make_job(JobState.RUNNING, **{"attempt": 3, **values})
    bury(job, JobState.RUNNING, reason=reason, error_type="ValueError", error=error, traceback="tb")
    return DeadLetter.objects.get(job=job)


def make_message(body: bytes, **values: Any) -> DeadLetter:
    """The letter of a message that no job was made of."""
    defaults = {
        "reason": DeadLetter.Reason.UNDECODABLE,
        "queue": "work-queue",
        "exchange": "work-exchange",
        "routing_key": "work",
    }
    return DeadLetter.objects.create(body=body, **{**defaults, **values})


def letter_of(job: Job | None = None, **values: Any) -> DeadLetter:
    """An open letter of the dead ``job``, else of one of its own; of none, where the values say so."""
    job = job or make_job(
        JobState.DEAD, task=values.get("task") or "probe.echo", payload=values.get("payload") or {"text": "x"}
    )
    defaults = {"attempt": job.attempt or 1, "reason": "exhausted", "task": job.task, "queue": job.queue}
    return DeadLetter.objects.create(**{"job_id": job.pk, "payload": job.payload, **defaults, **values})


def make_group(**values: Any) -> FailureGroup:
    return FailureGroup.objects.create(
        **{"id": uuid4(), "task": "probe.echo", "reason": "exhausted", "error_type": "ValueError", **values}
    )


def make_message_letter(**values: Any) -> DeadLetter:
    """The dead letter of a message that no job belongs to."""
    defaults = {"reason": "unknown_message", "queue": "work-queue", "exchange": "work-exchange", "routing_key": "work"}
    return DeadLetter.objects.create(**{**defaults, "body": b"{}", **values})
