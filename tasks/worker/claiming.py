"""Message -> claimed job: one compare-and-set for all messages at hand, which also returns the rows."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.db.models.base import ModelState
from django.db.models.functions import Now

from tasks.dead_letters.burial import bury
from tasks.dispatch import publish_on_commit
from tasks.models import DeadLetter, Job, JobEvent, WorkerProcess
from tasks.states import JobState
from tasks.transitions import change
from tasks.worker.envelope import Envelope
from tasks.worker.grouped import GroupStatement
from tasks.worker.supervision import is_gone, record_lost

logger = logging.getLogger(__name__)


class Answer(Enum):
    """What to do with a message."""

    RUN = "run"
    DROP = "drop"  # a duplicate, or a job that has moved on: acknowledge
    REJECT = "reject"  # past help: to the dead queue


@dataclass(frozen=True)
class Claim:
    """The answer to one message, with the claimed row where it is to run."""

    answer: Answer
    job: Job | None = None
    payload: str = ""
    """Its JSON, for whoever runs it."""
    why: str = ""

    @classmethod
    def run(cls, job: Job) -> "Claim":
        """Of a job that was read as a whole."""
        return cls(Answer.RUN, job, json.dumps(job.payload))


def claim(
    envelopes: Sequence[Envelope], worker: WorkerProcess, *, in_hand: Callable[[str], bool] = lambda attempt_id: True
) -> list[Claim]:
    """One Claim for each of ``envelopes``, in their order. Raises OperationalError; what was claimed before is
    found claimed when it is asked for again.

    The message of attempt n takes a queued job at attempt n - 1. Of equal messages the first wins; the others, and all
    that come late, are duplicates. ``in_hand(attempt_id)`` says whether this process is running that attempt: one that
    it owns and is not running was claimed by a transaction whose success it never heard of, and is taken up now.
    """
    taken: set[str] = set()

    def known(attempt_id: str) -> bool:
        return attempt_id in taken or in_hand(attempt_id)

    claimed = _compare_and_set(envelopes, worker)
    claims: list[Claim] = []
    for envelope in envelopes:
        answer = claimed.pop((envelope.job_id, envelope.attempt), None) or _explain(envelope, worker, known)
        if answer.answer is Answer.RUN:
            taken.add(f"{envelope.job_id}.{envelope.attempt}")
        claims.append(answer)
    return claims


def hand_back(attempts: Sequence[tuple[UUID, int]], *, why: str) -> list[Job]:
    """Queue claimed attempts again that never began or were interrupted, unspent. The jobs that were at them still.

    Their number is burnt and the count begins one later: should the pool run one of them after all, its outcome finds
    the job at another attempt. A message for the new one is published; the old one is a duplicate when it comes again.
    """
    handed_back = []
    for job_id, attempt in attempts:
        try:
            job = _hand_back(job_id, attempt, why)
        except OperationalError as error:
            if not connection.is_usable():
                raise
            logger.warning("the attempt %s.%d is left to supervision: %s", job_id, attempt, error)  # its row is held
        else:
            handed_back += [job] if job else []
    return handed_back


def _hand_back(job_id: UUID, attempt: int, why: str) -> Job | None:
    with transaction.atomic():
        if not change(
            job_id,
            source=JobState.RUNNING,
            target=JobState.QUEUED,
            attempt=attempt,
            kind=JobEvent.Kind.HANDED_BACK,
            detail={"why": why},
            attempt_base=F("attempt_base") + 1,
            worker=None,
            queued_at=Now(),
        ):
            return None
        job = Job.objects.get(pk=job_id)
        if job.cancel_requested_at:
            change(job_id, source=JobState.QUEUED, target=JobState.CANCELLED)
        else:
            publish_on_commit([job])
        return job


# What a worker needs of a job.
_COLUMNS = {
    "id": "uuid",
    "task": "text",
    "queue": "text",
    "state": "text",
    "attempt": "integer",
    "attempt_base": "integer",
    "lost_deliveries": "integer",
    "worker_id": "uuid",
    "queued_at": "moment",
    "requested_by": "text",
}
_CLAIM = GroupStatement(
    given={"id": "uuid", "attempt": "integer", "task": "text", "detail": "json"},
    update="""
        UPDATE tasks_job SET state = 'running', attempt = attempt + 1, worker_id = %(worker)s, started_at = {now},
               progress_done = 0, progress_total = NULL, progress_note = ''
        WHERE id IN (
            SELECT job.id FROM tasks_job job
            JOIN given ON job.id = given.id AND job.attempt = given.attempt - 1 AND job.task = given.task
            WHERE job.state = 'queued'
              AND (job.expires_at IS NULL OR job.started_at IS NOT NULL OR job.expires_at > {now})
            {unless_held}
        )
    """,
    returning={**_COLUMNS, "metadata": "json", "payload": "json"},
    then=[
        """
        INSERT INTO tasks_jobevent (job_id, kind, attempt, at, detail)
        SELECT changed.id, 'running', changed.attempt, {now}, given.detail
        FROM changed JOIN given ON changed.id = given.id AND changed.attempt = given.attempt
        """
    ],
)


def _compare_and_set(envelopes: Sequence[Envelope], worker: WorkerProcess) -> dict[tuple[UUID, int], Claim]:
    plain = {"worker": worker.name}
    details = {False: json.dumps(plain), True: json.dumps({**plain, "redelivered": True})}
    asked = {(envelope.job_id, envelope.attempt): envelope for envelope in reversed(envelopes)}  # the first of equals
    rows = [(*at, envelope.task, details[envelope.redelivered]) for at, envelope in asked.items()]
    claims: dict[tuple[UUID, int], Claim] = {}
    for *values, metadata, payload in _CLAIM.run(rows, worker=worker.pk):
        job = _job_of(values, json.loads(metadata))
        claims[job.pk, job.attempt] = Claim(Answer.RUN, job, payload)
    return claims


def _job_of(values: Sequence[Any], metadata: dict[str, Any]) -> Job:
    """As Model.from_db, which goes through all fields of the model, at a tenth of its price: there are hundreds of jobs
    to a claim. Fields that are not given are read when asked for."""
    job = Job.__new__(Job)
    job._state = ModelState()
    job._state.adding, job._state.db = False, connection.alias
    job.__dict__.update(zip(_COLUMNS, values, strict=True), metadata=metadata)
    return job


def _explain(envelope: Envelope, worker: WorkerProcess, in_hand: Callable[[str], bool]) -> Claim:
    """Why the message's job could not be claimed, and what becomes of the message."""
    # Asked before the row is read: what has left our hands by then is in the row.
    is_in_hand = in_hand(f"{envelope.job_id}.{envelope.attempt}")
    job = Job.objects.select_related("worker").filter(pk=envelope.job_id).first()
    if job is None:
        return Claim(Answer.REJECT, why="names a job that does not exist")
    if job.task != envelope.task:
        return Claim(Answer.REJECT, why=f"names task {envelope.task}, its job is a {job.task}")
    if job.state == JobState.QUEUED and job.attempt == envelope.attempt - 1:
        return _claim_late(job, envelope, worker)
    if job.state == JobState.DEAD and envelope.attempt == job.attempt:
        # Its worker died between the burial and the rejection: the dead queue still gets its evidence.
        return Claim(Answer.REJECT, why="is dead")
    if job.state == JobState.RUNNING and job.attempt == envelope.attempt:
        if job.worker_id == worker.pk and not is_in_hand:
            return Claim.run(job)
        if is_gone(job.worker, worker):
            record_lost(job, "its message was delivered again after its worker had gone")
            return Claim(Answer.DROP, why="its worker was lost")
    if _can_be_told(job.pk):
        detail = {"worker": worker.name, "state": job.state, "job_attempt": job.attempt}
        if envelope.redelivered:
            detail["redelivered"] = True
        JobEvent.objects.create(job=job, kind=JobEvent.Kind.DUPLICATE, attempt=envelope.attempt, detail=detail)
    return Claim(Answer.DROP, why=f"is a duplicate: the job is {job.state} at attempt {job.attempt}")


def _can_be_told(job_id: UUID) -> bool:
    """Whether an event of the job can be written now. It refers to the job's row, and would wait for a transaction that
    has selected it for update; a mere change of the row, another worker's claim say, is in nobody's way."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM tasks_job WHERE id = %s FOR KEY SHARE SKIP LOCKED", [job_id])
        return cursor.fetchone() is not None


def _claim_late(job: Job, envelope: Envelope, worker: WorkerProcess) -> Claim:
    """The job is waiting, and yet the claim passed it over: it has expired, or somebody held its row just then."""
    if Job.objects.filter(pk=job.pk, expires_at__lte=Now(), started_at=None).exists():
        bury(job, JobState.QUEUED, reason=DeadLetter.Reason.EXPIRED, error=f"not begun by {job.expires_at:%c} UTC")
        return Claim(Answer.REJECT, why="expired")
    claimed = _compare_and_set([envelope], worker)
    if claimed:
        return claimed[envelope.job_id, envelope.attempt]
    return Claim(Answer.DROP, why="is held by another transaction; the relay publishes it again")
