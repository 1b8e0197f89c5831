"""A letter is tried again: as it is, or elsewhere."""

from typing import Any, NamedTuple
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from tasks import audit, brokers
from tasks.brokers import DeadMessage
from tasks.dead_letters import redirects
from tasks.dead_letters.masking import mask_of
from tasks.dispatch import publish_on_commit
from tasks.errors import BrokerUnavailable, IllegalTransition, InvalidJob
from tasks.models import DeadLetter, Job, JobEvent, Redirect
from tasks.payloads import load_payload
from tasks.registry import registry
from tasks.states import JobState
from tasks.topology import TOPOLOGY
from tasks.transitions import change


class Replayed(NamedTuple):
    """How many letters were tried again, those that were not, each with why, and how many were not looked at."""

    done: int
    refused: dict[UUID, str]
    left: int


def replay(
    letter_id: UUID, *, requested_by: str = "", queue: str = "", task: str = "", operation: UUID | None = None
) -> DeadLetter:
    """Try the dead letter again: its job is queued anew, or a message without a job goes back where it was sent.

    ``queue`` and ``task`` redirect it; where they say nothing, standing redirects do (redirects.py). Nothing but the
    queue of a message can be redirected. One of an ``operation`` is in the audit trail with all of it, not by itself.

    Raises DeadLetter.DoesNotExist; IllegalTransition when it was replayed already, or has no message to send;
    InvalidJob when no such task or queue is known, or the other task does not take the payload; and BrokerUnavailable
    when a message can not be sent. Nothing has changed then.
    """
    with transaction.atomic():
        letter = held(letter_id)
        if letter.job is not None:
            requeue(letter.job, requested_by=requested_by, task=task, queue=queue, **_named(operation=operation))
            letter.refresh_from_db()
        else:
            _publish_again(letter, _queue_of_message(letter, task=task, queue=queue))
            mark_replayed(letter, requested_by)
        if requested_by and operation is None:
            moved = _named(task=task, queue=queue)
            audit.record(requested_by, "dead_letters.replay", letter.pk, detail=moved)
    return letter


def replay_job(job_id: UUID, *, requested_by: str = "", queue: str = "", task: str = "") -> Job:
    """The dead job, queued again with a fresh count of attempts; its open dead letters are marked replayed.

    Raises Job.DoesNotExist, IllegalTransition when the job is not dead, and InvalidJob as ``replay`` does.
    """
    with transaction.atomic():
        job = Job.objects.select_for_update(of=("self",)).get(pk=job_id)
        job = requeue(job, requested_by=requested_by, task=task, queue=queue)
        if requested_by:
            audit.record(requested_by, "dead_letters.replay", f"job {job.pk}", detail=_named(task=task, queue=queue))
    return job


def replay_matching(redirect_id: int, *, requested_by: str, most: int = 500) -> Replayed:
    """Replay the ``most`` oldest open letters that a standing redirect applies to, each in a transaction of its own.

    More than that, and pacing, are a bulk operation's, whose filter ``redirects.query_of`` gives. Raises
    Redirect.DoesNotExist.
    """
    letters = redirects.matching(Redirect.objects.get(pk=redirect_id)).order_by("id")
    done, refused = 0, dict[UUID, str]()
    for letter_id in list(letters.values_list("pk", flat=True)[:most]):
        try:
            replay(letter_id, requested_by=requested_by)
            done += 1
        except (IllegalTransition, InvalidJob, BrokerUnavailable, DeadLetter.DoesNotExist) as error:
            refused[letter_id] = str(error)
    return Replayed(done, refused, max(0, letters.count() - len(refused)))


def held(letter_id: UUID) -> DeadLetter:
    """The open letter, locked together with its job until the transaction ends. The job first, as everyone does.

    Raises DeadLetter.DoesNotExist, and IllegalTransition when it is not open any more.
    """
    job_id = DeadLetter.objects.values_list("job_id", flat=True).get(pk=letter_id)
    job = Job.objects.select_for_update(of=("self",)).filter(pk=job_id).first() if job_id else None
    letter = DeadLetter.objects.select_for_update(of=("self",)).get(pk=letter_id)
    if letter.state != DeadLetter.State.OPEN:
        raise IllegalTransition(f"the dead letter is {letter.state}, not open")
    letter.job = job
    return letter


def _check_payload(job: Job, task: str, given: dict[str, Any] | None) -> None:
    """Raises InvalidJob, which quotes nothing that is sensitive unless the caller has just ``given`` it."""
    if given is not None:
        load_payload(registry.get(task), given)
        return
    try:
        load_payload(registry.get(task), job.payload)
    except InvalidJob as error:
        mask = mask_of(job)
        mask.payload(task, job.payload)
        raise InvalidJob([{**each, "message": mask.text(each["message"])} for each in error.problems]) from None


def requeue(
    job: Job,
    *,
    requested_by: str,
    task: str = "",
    queue: str = "",
    payload: dict[str, Any] | None = None,
    **detail: Any,
) -> Job:
    """Move the dead ``job`` to queued, with all that goes with it, in the caller's transaction. ``task``, ``queue`` and
    ``payload`` replace its own where they are given; ``detail`` goes into the event beside them."""
    if job.state != JobState.DEAD:
        raise IllegalTransition(f"the job is {job.state}; only a dead job can be replayed")
    to = redirects.of_job(job, to_task=task, to_queue=queue)
    values: dict[str, Any] = {} if payload is None else {"payload": payload}
    if values or to.task != job.task:
        _check_payload(job, to.task, payload)
    for column, before, after in (("task", job.task, to.task), ("queue", job.queue, to.queue)):
        if before != after:
            values[column] = detail[column] = after
            detail[f"from_{column}"] = before
    try:
        moved = change(
            job.pk,
            source=JobState.DEAD,
            target=JobState.QUEUED,
            attempt=job.attempt,
            kind=JobEvent.Kind.REPLAYED,
            detail={"requested_by": requested_by, **detail},
            attempt_base=F("attempt"),
            lost_deliveries=0,
            queued_at=Now(),
            due_at=None,
            finished_at=None,
            expires_at=None,
            cancel_requested_at=None,
            worker=None,
            error="",
            **values,
        )
    except IntegrityError as error:
        message = f"{to.task} has a job with the key {job.idempotency_key!r} already; discard this one, or edit that"
        raise InvalidJob([{"field": "task", "message": message}]) from error
    if not moved:
        raise IllegalTransition("the job was replayed by somebody else a moment ago")
    DeadLetter.objects.filter(job=job).exclude(state=DeadLetter.State.REPLAYED).update(
        state=DeadLetter.State.REPLAYED, replayed_at=timezone.now(), replayed_by=requested_by, delete_at=None
    )
    job = Job.objects.get(pk=job.pk)
    publish_on_commit([job])
    return job


def mark_replayed(letter: DeadLetter, requested_by: str) -> None:
    """In the transaction that held it."""
    letter.state, letter.replayed_at, letter.replayed_by = DeadLetter.State.REPLAYED, timezone.now(), requested_by
    letter.save(update_fields=["state", "replayed_at", "replayed_by"])


def _queue_of_message(letter: DeadLetter, *, task: str, queue: str) -> str:
    """The queue that a message goes to instead of its exchange, or "" for none."""
    if task:
        remedy = "its bytes name what they ask for; repair its text instead"
        raise InvalidJob([{"field": "task", "message": f"the dead letter is a message without a job: {remedy}"}])
    to = redirects.destination_of_message(letter.task, letter.queue, to_queue=queue)
    return to if queue or to != letter.queue else ""


def _publish_again(letter: DeadLetter, queue: str) -> None:
    if letter.body is None:
        raise IllegalTransition("the dead letter holds no message to send")
    exchange, routing_key = letter.exchange, letter.routing_key
    if queue:
        declared = TOPOLOGY.queue(queue)
        exchange, routing_key = declared.exchange, declared.routing_key
    if not exchange:
        raise IllegalTransition(
            "the message was sent to a queue by its name alone; there is no exchange to send it to. Name a queue"
        )
    broker = brokers.connect()
    try:
        confirmed = broker.publish_again(
            DeadMessage(
                dead_queue="",
                queue=queue or letter.queue,
                body=bytes(letter.body),
                exchange=exchange,
                routing_key=routing_key,
                content_type=letter.properties.get("content_type"),
                content_encoding=letter.properties.get("content_encoding"),
                headers=letter.headers,
                properties=letter.properties,
            )
        )
    finally:
        broker.close()
    if not confirmed:
        raise IllegalTransition(f"no queue takes messages sent to {exchange} with key {routing_key!r}")


def _named(**values: Any) -> dict[str, Any]:
    """Those that say something, as text."""
    return {name: str(value) for name, value in values.items() if value}
