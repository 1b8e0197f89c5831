"""Message -> claimed job: one compare-and-set for all messages at hand, which also returns the rows."""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
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


Attempt = tuple[UUID, int]
"""A job's id, and the number of its attempt."""


class HandedBack(NamedTuple):
    """``jobs`` are queued again, or cancelled where that was asked for. ``held`` attempts are the worker's still:
    somebody's transaction holds their rows. Whatever is in neither had moved on."""

    jobs: list[Job]
    held: set[Attempt]


def claim(
    envelopes: Sequence[Envelope], worker: WorkerProcess, *, in_hand: Callable[[str], bool] = lambda attempt_id: True
) -> list[Claim]:
    """One Claim for each of ``envelopes``, in their order. Raises OUTAGE; what was claimed before is found claimed when
    it is asked for again.

    The message of attempt n takes a queued job at attempt n - 1. Of equal messages the first wins; the others, and all
    that come late, are duplicates. ``in_hand(attempt_id)`` says whether this process is running that attempt: one that
    it owns and is not running was claimed by a transaction whose success it never heard of, and is taken up now.
    """
    claimed = _compare_and_set(envelopes, worker)
    taken = {f"{job_id}.{attempt}" for job_id, attempt in claimed}
    claims = [claimed.pop((envelope.job_id, envelope.attempt), None) for envelope in envelopes]
    left = [envelope for envelope, claimed_now in zip(envelopes, claims, strict=True) if claimed_now is None]
    explained = iter(_explain(left, worker, lambda attempt_id: attempt_id in taken or in_hand(attempt_id)))
    return [claimed_now or next(explained) for claimed_now in claims]


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


_HANDED_BACK = {"id": "uuid", "task": "text", "queue": "text", "attempt": "integer", "cancel_requested_at": "moment"}
_HAND_BACK = GroupStatement(
    given={"id": "uuid", "attempt": "integer", "detail": "json"},
    update="""
        UPDATE tasks_job SET state = 'queued', attempt_base = attempt_base + 1, worker_id = NULL, queued_at = {now}
        WHERE id IN (
            SELECT job.id FROM tasks_job job JOIN given ON job.id = given.id AND job.attempt = given.attempt
            WHERE job.state = 'running' {unless_held}
        )
    """,
    returning=_HANDED_BACK,
    then=[
        """
        INSERT INTO tasks_jobevent (job_id, kind, attempt, at, detail)
        SELECT changed.id, 'handed_back', changed.attempt, {now}, given.detail
        FROM changed JOIN given ON changed.id = given.id AND changed.attempt = given.attempt
        """
    ],
)


def hand_back(attempts: Sequence[Attempt], worker: WorkerProcess, *, why: str) -> HandedBack:
    """Queue claimed attempts of ``worker`` again that never began or were interrupted, unspent. Raises OUTAGE.

    Their number is burnt and the count begins one later: should the pool run one of them after all, its outcome finds
    the job at another attempt. A message for the new one is published; the old one is a duplicate when it comes again.
    """
    if not attempts:
        return HandedBack([], set())
    asked, detail = set(attempts), json.dumps({"why": why})
    with transaction.atomic():
        jobs = [_job_of(_HANDED_BACK, row) for row in _HAND_BACK.run([(*attempt, detail) for attempt in asked])]
        for job in jobs:
            if job.cancel_requested_at:
                change(job.pk, source=JobState.QUEUED, target=JobState.CANCELLED)
        publish_on_commit([job for job in jobs if not job.cancel_requested_at])
    left = asked - {(job.pk, job.attempt) for job in jobs}
    ours = Job.objects.filter(pk__in=[id for id, _ in left], state=JobState.RUNNING, worker=worker) if left else []
    return HandedBack(jobs, left & {(job.pk, job.attempt) for job in ours})


def _compare_and_set(envelopes: Sequence[Envelope], worker: WorkerProcess) -> dict[Attempt, Claim]:
    plain = {"worker": worker.name}
    details = {False: json.dumps(plain), True: json.dumps({**plain, "redelivered": True})}
    asked = {(envelope.job_id, envelope.attempt): envelope for envelope in reversed(envelopes)}  # the first of equals
    rows = [(*at, envelope.task, details[envelope.redelivered]) for at, envelope in asked.items()]
    claims: dict[Attempt, Claim] = {}
    for *values, metadata, payload in _CLAIM.run(rows, worker=worker.pk):
        job = _job_of(_COLUMNS, values, metadata=json.loads(metadata))
        claims[job.pk, job.attempt] = Claim(Answer.RUN, job, payload)
    return claims


def _job_of(columns: Iterable[str], values: Iterable[Any], **more: Any) -> Job:
    """As Model.from_db, which goes through all fields of the model, at a tenth of its price: there are hundreds of jobs
    to a claim. Fields that are not given are read when asked for."""
    job = Job.__new__(Job)
    job._state = ModelState()
    job._state.adding, job._state.db = False, connection.alias
    job.__dict__.update(zip(columns, values, strict=True), **more)
    return job


def _explain(envelopes: Sequence[Envelope], worker: WorkerProcess, is_in_hand: Callable[[str], bool]) -> list[Claim]:
    """Why each message's job could not be claimed, and what becomes of the message. After a lost connection there may
    be thousands of duplicates, so they are read together and told together."""
    if not envelopes:
        return []
    # Asked before the rows are read: what has left our hands by then is in the rows.
    in_hand = {envelope.attempt_id for envelope in envelopes if is_in_hand(envelope.attempt_id)}
    jobs = Job.objects.select_related("worker").in_bulk({envelope.job_id for envelope in envelopes})
    claims: list[Claim] = []
    duplicates: list[JobEvent] = []
    for envelope in envelopes:
        job = jobs.get(envelope.job_id)
        answer = _answer(job, envelope, worker, envelope.attempt_id in in_hand)
        if answer is None:
            assert job is not None
            duplicates.append(_duplicate(job, envelope, worker))
            answer = Claim(Answer.DROP, why=f"is a duplicate: the job is {job.state} at attempt {job.attempt}")
        elif answer.job is not None:
            jobs[envelope.job_id] = answer.job
            in_hand.add(envelope.attempt_id)
        claims.append(answer)
    _tell(duplicates)
    return claims


def _answer(job: Job | None, envelope: Envelope, worker: WorkerProcess, is_in_hand: bool) -> Claim | None:
    """None for a duplicate."""
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
            job.refresh_from_db()  # there may be another message of it
            return Claim(Answer.DROP, why="its worker was lost")
    return None


def _duplicate(job: Job, envelope: Envelope, worker: WorkerProcess) -> JobEvent:
    detail = {"worker": worker.name, "state": job.state, "job_attempt": job.attempt}
    if envelope.redelivered:
        detail["redelivered"] = True
    return JobEvent(job=job, kind=JobEvent.Kind.DUPLICATE, attempt=envelope.attempt, detail=detail)


def _tell(events: Sequence[JobEvent]) -> None:
    """Append ``events`` where that can be done now. Each refers to its job's row, and would wait for a transaction that
    has selected it for update; a mere change of the row, another worker's claim say, is in nobody's way."""
    if not events:
        return
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                ids = [event.job_id for event in events]
                cursor.execute("SELECT id FROM tasks_job WHERE id = ANY(%s) FOR KEY SHARE SKIP LOCKED", [ids])
                free = {id for (id,) in cursor.fetchall()}
            events = [event for event in events if event.job_id in free]
        JobEvent.objects.bulk_create(events)


def _claim_late(job: Job, envelope: Envelope, worker: WorkerProcess) -> Claim:
    """The job is waiting, and yet the claim passed it over: it has expired, or somebody held its row just then."""
    if Job.objects.filter(pk=job.pk, expires_at__lte=Now(), started_at=None).exists():
        bury(job, JobState.QUEUED, reason=DeadLetter.Reason.EXPIRED, error=f"not begun by {job.expires_at:%c} UTC")
        return Claim(Answer.REJECT, why="expired")
    claimed = _compare_and_set([envelope], worker)
    if claimed:
        return claimed[envelope.job_id, envelope.attempt]
    return Claim(Answer.DROP, why="is held by another transaction; the relay publishes it again")
