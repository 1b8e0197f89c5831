"""One module a broker; the only rooms that talk to a broker's own API."""

from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from kombu.transport import TRANSPORT_ALIASES

from tasks.brokers.base import (
    Answers,
    Broker,
    DeadMessage,
    JobMessage,
    QueueMissing,
    Reply,
    TopicMessage,
    TopologyMismatch,
)

__all__ = [
    "Answers",
    "Broker",
    "DeadMessage",
    "JobMessage",
    "QueueMissing",
    "Reply",
    "TopicMessage",
    "TopologyMismatch",
    "celery_queues",
    "connect",
    "name_transports",
    "replies_to_queues",
    "scheme",
]


def connect() -> Broker:
    """A connection of its own to the broker of BROKER_URL; opened at first use."""
    return _room().connect(settings.CELERY_BROKER_URL)


def celery_queues() -> list:
    """The topology as kombu queues, so that Celery's own declarations agree with ours."""
    return _room().celery_queues()


def replies_to_queues() -> bool:
    """Whether a reply can be sent to a queue that its caller names."""
    return scheme() != "sqs"


def scheme() -> str:
    """That of BROKER_URL."""
    return urlsplit(settings.CELERY_BROKER_URL).scheme


def name_transports() -> None:
    """Tell kombu of the transports that are ours, so that Celery finds them by the scheme of BROKER_URL."""
    TRANSPORT_ALIASES["sqs"] = "tasks.brokers.sqs.transport:Transport"


def _room():
    found = scheme()
    if found in ("amqp", "amqps"):
        from tasks.brokers import rabbitmq

        return rabbitmq
    if found == "memory":
        from tasks.brokers import memory

        return memory
    if found == "sqs":
        from tasks.brokers import sqs

        return sqs
    raise ImproperlyConfigured(
        f"BROKER_URL: no broker for {found}://; this build speaks amqp://, amqps://, sqs:// and memory://"
    )
