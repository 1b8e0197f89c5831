"""Dead queues -> DeadLetter rows: the broker's evidence for what died, and a row for what never reached a task."""

import hashlib
import logging
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from tasks.brokers import DeadMessage
from tasks.dead_letters.burial import bury, keep
from tasks.dispatch import publish_on_commit
from tasks.evidence import jsonable, plain_text
from tasks.models import DeadLetter, Job, JobEvent
from tasks.states import JobState
from tasks.worker.envelope import Envelope, WrongMessage, job_and_attempt_of, read_envelope

logger = logging.getLogger(__name__)

Reason = DeadLetter.Reason


def collect(dead: DeadMessage) -> None:
    """Keep ``dead`` as, or with, its DeadLetter. Safe to repeat: a message collected twice leaves one row.

    Raises OperationalError or InterfaceError while the database is away. Whatever else goes wrong, the message is kept
    with little more than its bytes, so that it never stands in the way of those behind it.
    """
    try:
        _collect(dead)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        if DeadLetter.objects.filter(evidence_key=_key(dead)).exists():
            return  # another worker, handed the same message, was first by a moment
        logger.exception("a dead message of %s is kept without its particulars", dead.dead_queue)
        keep(
            DeadLetter(
                reason=Reason.UNDECODABLE,
                queue=plain_text(dead.queue or dead.dead_queue)[:100],
                error=plain_text(f"could not be examined: {error!r}"),
                body=dead.body,
                collected_at=timezone.now(),
            )
        )


def _collect(dead: DeadMessage) -> None:
    evidence = {
        "evidence_key": _key(dead),
        "collected_at": timezone.now(),
        "exchange": plain_text(dead.exchange)[:255],
        "routing_key": plain_text(dead.routing_key)[:255],
        "headers": jsonable(dead.headers),
        "properties": jsonable(
            {
                **dead.properties,
                "content_type": dead.content_type,
                "content_encoding": dead.content_encoding,
                "deaths": dead.deaths,
            }
        ),
        "body": dead.body,
    }
    with transaction.atomic():
        if DeadLetter.objects.filter(evidence_key=evidence["evidence_key"]).exists():
            return
        try:
            envelope = read_envelope(dead.headers, dead.body, dead.content_type)
        except WrongMessage as wrong:
            if wrong.reason == Reason.UNKNOWN_TASK and _bury_job_of(dead, Reason.UNKNOWN_TASK, str(wrong), evidence):
                return
            _keep_message(dead, wrong, evidence)
        else:
            _keep_with_job(dead, envelope, evidence)


def _keep_with_job(dead: DeadMessage, envelope: Envelope, evidence: dict[str, Any]) -> None:
    letter = DeadLetter.objects.filter(job_id=envelope.job_id, attempt=envelope.attempt).first()
    if letter is not None:
        for name, value in evidence.items():
            setattr(letter, name, value)
        letter.save(update_fields=list(evidence))
    elif not dead.queue:
        # Ours, and misaddressed because its queue was gone: the job is queued still, and the relay finds it.
        logger.warning("the message of job %s found no queue", envelope.job_id)
    else:
        _keep_with_living_job(dead, envelope, evidence)


def _keep_with_living_job(dead: DeadMessage, envelope: Envelope, evidence: dict[str, Any]) -> None:
    job = Job.objects.select_for_update(of=("self",)).filter(pk=envelope.job_id).first()
    if job is None or job.task != envelope.task:
        _keep_message(dead, WrongMessage(Reason.UNKNOWN_MESSAGE, "is of no job that asks for this task"), evidence)
    elif job.state == JobState.QUEUED and job.attempt == envelope.attempt - 1:
        if not _published_again(job, dead):
            bury(job, JobState.QUEUED, reason=Reason.DELIVERY_LIMIT, error=_in_words(dead), **evidence)
    else:
        detail = {"state": job.state, "job_attempt": job.attempt, "dead": _in_words(dead)}
        JobEvent.objects.create(job=job, kind=JobEvent.Kind.DUPLICATE, attempt=envelope.attempt, detail=detail)


def _published_again(job: Job, dead: DeadMessage) -> bool:
    """Whether a job whose message was delivered too often, and never claimed, gets a new one.

    Every connection that is lost counts as a delivery of what the worker held and had not begun, so this tells little
    of the job. Only one that keeps coming back is taken for one that kills whoever reads it.
    """
    if not dead.deaths or dead.deaths[0].get("reason") != "delivery_limit":
        return False
    rounds = job.events.filter(kind=JobEvent.Kind.REPUBLISHED, attempt=job.attempt, detail__given_up=True).count()
    if rounds >= settings.TASKS_POISON_LIMIT:
        return False
    Job.objects.filter(pk=job.pk).update(queued_at=Now())
    detail = {"given_up": True, "why": "the broker gave its message up, delivered too often and never claimed"}
    JobEvent.objects.create(job=job, kind=JobEvent.Kind.REPUBLISHED, attempt=job.attempt, detail=detail)
    publish_on_commit([job])
    return True


def _bury_job_of(dead: DeadMessage, reason: str, error: str, evidence: dict[str, Any]) -> bool:
    """Whether the job that ``dead`` would have run was waiting for just this attempt, and is buried now."""
    named = job_and_attempt_of(dead.headers)
    if named is None:
        return False
    job_id, attempt = named
    task = dead.headers.get("task")
    job = Job.objects.filter(pk=job_id, state=JobState.QUEUED, attempt=attempt - 1, task=task).first()
    return job is not None and bury(job, JobState.QUEUED, reason=reason, error=error, **evidence)


def _keep_message(dead: DeadMessage, wrong: WrongMessage, evidence: dict[str, Any]) -> None:
    keep(
        DeadLetter(
            reason=wrong.reason if dead.queue else Reason.UNROUTED,
            task=str(dead.headers.get("task") or "")[:200].replace("\0", ""),
            queue=dead.queue or dead.dead_queue,
            error=plain_text(str(wrong)),
            **evidence,
        )
    )


def _in_words(dead: DeadMessage) -> str:
    newest = dead.deaths[0] if dead.deaths else {}
    return f"{newest.get('reason', 'given up')} by {dead.queue} after {newest.get('count', 1)} time(s)"


def _key(dead: DeadMessage) -> str:
    """The same for the same death of the same message, however often it is handed over."""
    newest = dead.deaths[0] if dead.deaths else {}
    parts = (dead.dead_queue, dead.properties.get("message_id"), newest.get("time"), newest.get("count"), dead.headers)
    return hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace") + dead.body).hexdigest()
