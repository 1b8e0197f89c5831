"""Messages in, rows out: a job for each that is right and a dead letter for each that is not, in one transaction."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.db import DatabaseError, transaction
from django.utils import timezone
from pydantic import ValidationError

from tasks.dead_letters.burial import keep
from tasks.dispatch import JobRequest, prepare, store
from tasks.errors import IdempotencyConflict, InvalidJob, KeyInUse
from tasks.evidence import jsonable, plain_text
from tasks.ingress.envelope import Arrival, Envelope, Reason, digest_of, in_data, key_of, read
from tasks.insertion import NewJob
from tasks.models import DeadLetter, Job, JobEvent
from tasks.payloads import problems_of
from tasks.registry import TaskSpec, registry
from tasks.worker.envelope import WrongMessage
from tasks.worker.recording import OUTAGE

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Accepted:
    """What became of a message. ``job_ids`` are the jobs it asks for, those of an earlier message with its id among
    them: several for one type that several tasks have a part in, and none where nobody has. Or ``problem`` says what
    was wrong, and its dead letter is kept."""

    job_ids: tuple[UUID, ...] = ()
    problem: WrongMessage | None = None

    @property
    def job_id(self) -> UUID | None:
        return self.job_ids[0] if self.job_ids else None


def accept(arrivals: Sequence[Arrival]) -> list[Accepted]:
    """For each, in their order, what became of it. When this returns all of it is committed, and they may be
    acknowledged.

    Raises one of OUTAGE while the database is away, and KeyInUse while somebody else is just
    accepting a message of the same id: nothing is kept then, and the same arrivals are to be offered again.
    """
    asked = [_asked(arrival) for arrival in arrivals]
    try:
        with transaction.atomic():
            return _store(arrivals, asked)
    except (*OUTAGE, KeyInUse):
        raise
    except Exception as error:
        if len(arrivals) > 1:  # one row is more than the database can take: the others do not suffer with it
            return [accepted for arrival in arrivals for accepted in accept([arrival])]
        logger.exception("a message of %s can not be accepted", arrivals[0].place)
        if not isinstance(error, (DatabaseError, ValueError)):
            raise
        wrong = WrongMessage(Reason.UNDECODABLE, f"can not be accepted: {error!r}")
        with transaction.atomic():
            _bury(arrivals[0], wrong)
        return [Accepted(problem=wrong)]


def _asked(arrival: Arrival) -> list[NewJob] | WrongMessage:
    """The jobs that a message asks for."""
    try:
        envelope = read(arrival)
        return [_new_job(spec, payload, arrival, envelope) for spec, payload in _parts(arrival, envelope)]
    except InvalidJob as error:
        return WrongMessage(Reason.INVALID_PAYLOAD, in_data(error.problems))
    except WrongMessage as wrong:
        return wrong


def _parts(arrival: Arrival, envelope: Envelope) -> Iterator[tuple[TaskSpec, dict[str, Any]]]:
    """The tasks that the envelope is for, each with its payload. Of those that have a part in its type, the one whose
    queue the message came from; all of them where it came by another way."""
    sharing = registry.sharing(envelope.type)
    if not sharing:
        yield _spec(envelope.type), envelope.data
        return
    here = [spec for spec in sharing if spec.queue.name == arrival.place]
    for spec in here or sharing:
        try:
            payload = spec.parts[envelope.type](envelope.data)
        except ValidationError as error:
            raise InvalidJob(problems_of(error)) from None
        if payload is not None:
            yield spec, payload


def _spec(type: str) -> TaskSpec:
    spec = registry.of_type(type)
    if spec is None:
        known = ", ".join(registry.types())
        raise WrongMessage(Reason.UNKNOWN_TASK, f"type: nothing here takes {type!r}; there are {known}, and task names")
    return spec


def _new_job(spec: TaskSpec, payload: dict[str, Any], arrival: Arrival, envelope: Envelope) -> NewJob:
    key = key_of(arrival, envelope)
    is_part = envelope.type in spec.parts
    sent = {
        "id": envelope.id,
        "timestamp": envelope.timestamp.isoformat() if envelope.timestamp else None,
        "retry_count": envelope.retry_count,
    }
    request = JobRequest(
        task=spec.name,
        payload=payload,
        priority=envelope.priority or "normal",
        idempotency_key=key,
        idempotency_owner=f"{arrival.origin}:{spec.name}" if is_part else arrival.origin,
        idempotency_digest=digest_of(envelope),
        correlation_id=envelope.correlation_id or "",
        reply_to=envelope.reply_to or "",
        requested_by=arrival.origin,
        metadata={"envelope": {name: value for name, value in sent.items() if value is not None}},
        from_outside=True,
    )
    return prepare(request)


def _store(arrivals: Sequence[Arrival], asked: Sequence[list[NewJob] | WrongMessage]) -> list[Accepted]:
    new_jobs = [new for each in asked if isinstance(each, list) for new in each]
    stored = iter(zip(new_jobs, store(new_jobs) if new_jobs else (), strict=True))
    accepted: list[Accepted] = []
    repeated: list[JobEvent] = []
    for arrival, each in zip(arrivals, asked, strict=True):
        if isinstance(each, WrongMessage):
            accepted.append(_buried(arrival, each))
            continue
        answers = [next(stored) for _ in each]
        conflict = next((answer for _, answer in answers if isinstance(answer, IdempotencyConflict)), None)
        if conflict is not None:
            text = f"id: job {conflict.id} came of a message with the same id and other content: give each its own"
            accepted.append(_buried(arrival, WrongMessage(Reason.ID_CONFLICT, text)))
            continue
        jobs = [(new, answer) for new, answer in answers if isinstance(answer, Job)]
        repeated += [_told_again(job, arrival) for new, job in jobs if job.pk != new.id]
        accepted.append(Accepted(tuple(job.pk for _, job in jobs)))
    JobEvent.objects.bulk_create(repeated)
    return accepted


def _told_again(job: Job, arrival: Arrival) -> JobEvent:
    """That a message came again, by redelivery or because its producer sent it twice."""
    detail = {"message": arrival.origin, "why": "a message with its id came again"}
    return JobEvent(job_id=job.pk, kind=JobEvent.Kind.DUPLICATE, attempt=job.attempt, detail=detail)


def _buried(arrival: Arrival, wrong: WrongMessage) -> Accepted:
    logger.error("message of %s dead-lettered: %s", arrival.origin, wrong)
    _bury(arrival, wrong)
    return Accepted(problem=wrong)


def _bury(arrival: Arrival, wrong: WrongMessage) -> None:
    """Its letter, unless an open one is there of an earlier delivery. One that was replayed is another's: it came back
    as wrong as it was."""
    key = _evidence_key(arrival)
    if key is not None:
        known = DeadLetter.objects.filter(evidence_key=key)
        known.exclude(state=DeadLetter.State.OPEN).update(evidence_key=None)
        if known.exists():
            return
    keep(
        DeadLetter(
            reason=wrong.reason,
            task=_task(arrival),
            queue=plain_text(arrival.place)[:100],
            error=plain_text(str(wrong)),
            evidence_key=key,
            collected_at=timezone.now(),
            exchange=plain_text(arrival.exchange)[:255],
            routing_key=plain_text(arrival.routing_key)[:255],
            headers=jsonable(dict(arrival.headers)),
            properties=jsonable(dict(arrival.properties)),
            body=arrival.body,
        )
    )


def _evidence_key(arrival: Arrival) -> str | None:
    id = arrival.key or arrival.properties.get("message_id")
    if not id:
        return None
    return sha256(
        repr((arrival.source, arrival.place, id)).encode("utf-8", "backslashreplace") + arrival.body
    ).hexdigest()


def _task(arrival: Arrival) -> str:
    """The task that was meant, as far as that can be told."""
    try:
        type = json.loads(arrival.body)["type"]
        spec = registry.of_type(type) if isinstance(type, str) else None
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
    return spec.name if spec else plain_text(type)[:200] if isinstance(type, str) else ""
