"""One module a broker; the only rooms that talk to a broker's own API."""

from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

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
]


def connect() -> Broker:
    """A connection of its own to the broker of BROKER_URL; opened at first use."""
    return _room().connect(settings.CELERY_BROKER_URL)


def celery_queues() -> list:
    """The topology as kombu queues, so that Celery's own declarations agree with ours."""
    return _room().celery_queues()


def _room():
    scheme = urlsplit(settings.CELERY_BROKER_URL).scheme
    if scheme in ("amqp", "amqps"):
        from tasks.brokers import rabbitmq

        return rabbitmq
    if scheme == "memory":
        from tasks.brokers import memory

        return memory
    raise ImproperlyConfigured(
        f"BROKER_URL: no broker for {scheme}://; this build speaks amqp://, amqps:// and memory://"
    )
