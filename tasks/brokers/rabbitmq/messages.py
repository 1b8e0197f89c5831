"""Our messages as AMQP properties, and AMQP deliveries as dead messages."""

from typing import Any

from kombu import Message

from tasks.brokers.base import DeadMessage, JobMessage, Reply, TopicMessage
from tasks.brokers.rabbitmq.any_text import as_text
from tasks.topology import UNROUTED_QUEUE

JOB_BODY = b"[[], {}, {}]"

# Kept on a replayed message, x-death can end it as a dead-letter cycle.
_BROKERS_HEADERS = {
    "x-death",
    "x-delivery-count",
    *(f"x-{which}-death-{what}" for which in ("first", "last") for what in ("exchange", "queue", "reason")),
}
_KEPT_PROPERTIES = (
    "correlation_id", "reply_to", "message_id", "priority", "expiration", "timestamp", "type", "user_id", "app_id"
)  # fmt: skip


def job_properties(message: JobMessage) -> dict[str, Any]:
    """A Celery protocol 2 task message with no arguments: the worker takes them from the job's row."""
    return {
        "delivery_mode": 2,
        "message_id": message.id,
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "correlation_id": message.id,
        "application_headers": {
            "lang": "py",
            "task": message.task,
            "id": message.id,
            "root_id": str(message.job_id),
            "retries": message.attempt - 1,
        },
    }


def topic_properties(message: TopicMessage) -> dict[str, Any]:
    """A persistent JSON message."""
    return {"delivery_mode": 2, "message_id": message.id, "content_type": "application/json"}


def reply_properties(reply: Reply) -> dict[str, Any]:
    """A persistent JSON message with its caller's correlation id."""
    return {
        "delivery_mode": 2,
        "message_id": reply.id,
        "content_type": "application/json",
        "correlation_id": reply.correlation_id,
    }


def dead_message(message: Message) -> DeadMessage:
    """A delivery from a dead queue, with the address it had before it died."""
    deaths = [dict(death) for death in (message.headers or {}).get("x-death", [])]
    newest = deaths[0] if deaths else {}
    info = message.delivery_info
    return DeadMessage(
        dead_queue=(newest and f"{newest['queue']}.dead") or UNROUTED_QUEUE,
        queue=newest.get("queue", ""),
        body=bytes(message.body) if not isinstance(message.body, str) else message.body.encode(),
        exchange=as_text(newest.get("exchange", info.get("exchange", ""))),
        routing_key=as_text(next(iter(newest.get("routing-keys", [])), info.get("routing_key", ""))),
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers={name: value for name, value in (message.headers or {}).items() if name not in _BROKERS_HEADERS},
        properties={name: value for name, value in message.properties.items() if name in _KEPT_PROPERTIES},
        deaths=deaths,
    )


def properties_again(dead: DeadMessage) -> dict[str, Any]:
    """The properties of a dead message for its second journey, which is persistent whatever the first one was."""
    kept = {**dead.properties, "content_type": dead.content_type, "content_encoding": dead.content_encoding}
    kept |= {"delivery_mode": 2}
    return {name: value for name, value in kept.items() if value is not None} | {"application_headers": dead.headers}
