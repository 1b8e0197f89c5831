"""A letter is tried again."""

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from tasks import brokers, jobs
from tasks.brokers import DeadMessage
from tasks.errors import IllegalTransition
from tasks.models import DeadLetter


def replay(letter_id: UUID, *, requested_by: str = "", operation: UUID | None = None) -> DeadLetter:
    """Try the dead letter again: its job is queued anew, or a message without a job goes back where it was sent.
    ``operation`` is the one that it is part of, if any.

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
