"""Replies to whoever waits at a queue. The rows are the outbox: a reply is owed until the broker has taken it.

A worker that dies between the two sends it again, under the same message id.
"""

import json
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from tasks.brokers import Broker, Reply
from tasks.dead_letters.masking import mask_of
from tasks.models import Job, Request
from tasks.requests import OWED
from tasks.states import FINAL, JobState

VERSION = 1
BATCH = 200
GONE = "nobody waits at the queue any more; the reply can be fetched by its correlation id"


def send_owed(broker: Broker) -> int:
    """Send the replies of jobs that have ended, those that were asked for first. How many were looked at."""
    with transaction.atomic():
        owed = Request.objects.filter(OWED, job__state__in=FINAL).select_related("job").order_by("id")
        requests = list(owed.select_for_update(of=("self",), skip_locked=True)[:BATCH])
        if requests:
            taken = broker.reply([_reply(request) for request in requests])
            by_fate: dict[bool, list[int]] = {True: [], False: []}
            for request in requests:
                by_fate[_id(request) in taken].append(request.pk)
            Request.objects.filter(pk__in=by_fate[True]).update(answered_at=Now())
            Request.objects.filter(pk__in=by_fate[False]).update(trouble=GONE)
    return len(requests)


def are_owed() -> bool:
    """Whether anybody waits at a queue."""
    return Request.objects.filter(OWED).exists()


def body_of(job: Job, correlation_id: str) -> dict[str, Any]:
    """What a caller is told. A member may be added; none changes its meaning or goes without a new version."""
    told: dict[str, Any] = {
        "version": VERSION,
        "correlationId": correlation_id,
        "jobId": str(job.pk),
        "task": job.task,
        "state": job.state,
        "finishedAt": _iso(job.finished_at),
    }
    if job.state == JobState.SUCCEEDED:
        return {**told, "result": job.result}
    return {**told, "error": mask_of(job).text(job.error)}


def _reply(request: Request) -> Reply:
    body = json.dumps(body_of(request.job, request.correlation_id), ensure_ascii=False).encode()
    return Reply(_id(request), request.reply_to, request.correlation_id, body)


def _id(request: Request) -> str:
    return f"reply-{request.pk}"


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
