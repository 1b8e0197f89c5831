"""Dead letters: bury a job, replay a letter."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from tasks import brokers, jobs
from tasks.brokers import DeadMessage
from tasks.errors import IllegalTransition
from tasks.models import DeadLetter, Job, error_summary
from tasks.states import JobState
from tasks.transitions import change


def bury(
    job: Job,
    source: JobState,
    *,
    reason: str,
    error_type: str = "",
    error: str = "",
    traceback: str = "",
    **evidence: Any,
) -> bool:
    """Move ``job`` from ``source`` to dead with its DeadLetter, in one transaction. False when it has moved on.

    A job that dies while it is queued dies of the attempt that its message asks for, though that never began: its
    number is burnt, so that neither the message nor what becomes of it is taken for another's after a replay.
    """
    never_began = source == JobState.QUEUED
    with transaction.atomic():
        if not change(
            job.pk,
            source=source,
            target=JobState.DEAD,
            attempt=job.attempt,
            burn=never_began,
            detail={"reason": reason, "error": error_summary(error_type, error)},
            error=error_summary(error_type, error),
            due_at=None,
        ):
            return False
        DeadLetter.objects.create(
            job=job,
            attempt=job.attempt + never_began,
            reason=reason,
            task=job.task,
            queue=job.queue,
            error_type=error_type,
            error=error,
            traceback=traceback,
            **evidence,
        )
    return True


def replay(letter_id: UUID, *, requested_by: str = "") -> DeadLetter:
    """Try the dead letter again: its job is queued anew, or a message without a job goes back where it was sent.

    Raises DeadLetter.DoesNotExist; IllegalTransition when it was replayed already, or has no message to send; and
    BrokerUnavailable, with nothing changed, when a message can not be sent.
    """
    with transaction.atomic():
        letter = DeadLetter.objects.select_for_update(of=("self",)).get(pk=letter_id)
        if letter.state != DeadLetter.State.OPEN:
            raise IllegalTransition(f"the dead letter is {letter.state}, not open")
        if letter.job_id is not None:
            jobs.replay(letter.job_id, requested_by=requested_by)
            letter.refresh_from_db()
            return letter
        _publish_again(letter)
        letter.state, letter.replayed_at, letter.replayed_by = DeadLetter.State.REPLAYED, timezone.now(), requested_by
        letter.save(update_fields=["state", "replayed_at", "replayed_by"])
        return letter


def _publish_again(letter: DeadLetter) -> None:
    if letter.body is None:
        raise IllegalTransition("the dead letter holds no message to send")
    if not letter.exchange:
        raise IllegalTransition("the message was sent to a queue by its name alone; there is no exchange to send it to")
    broker = brokers.connect()
    try:
        confirmed = broker.publish_again(
            DeadMessage(
                dead_queue="",
                queue=letter.queue,
                body=bytes(letter.body),
                exchange=letter.exchange,
                routing_key=letter.routing_key,
                content_type=letter.properties.get("content_type"),
                content_encoding=letter.properties.get("content_encoding"),
                headers=letter.headers,
                properties=letter.properties,
            )
        )
    finally:
        broker.close()
    if not confirmed:
        raise IllegalTransition(f"no queue takes messages sent to {letter.exchange} with key {letter.routing_key!r}")
