"""Clients of a Kafka cluster, as the environment describes it."""

from contextlib import suppress
from importlib import import_module
from typing import Any

from django.conf import settings

from tasks.errors import MissingRequirement, NotConfigured

library: Any = None
with suppress(ImportError):  # optional
    library = import_module("confluent_kafka")

DEAD = ".dead"
"""What the name of a topic's dead-letter topic ends with."""


def kafka() -> Any:
    """The library. Raises MissingRequirement where it is not installed."""
    if library is None:
        raise MissingRequirement("confluent-kafka", "requirements/kafka.txt")
    return library


def consumer() -> Any:
    """A member of the group, which moves its offsets when it is told to and never by itself."""
    return kafka().Consumer(
        {
            **_common(),
            "group.id": settings.TASKS_KAFKA_GROUP,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "cooperative-sticky",
        }
    )


def producer() -> Any:
    """One whose messages are on every replica, once and in order, when their delivery is reported."""
    return kafka().Producer({**_common(), "enable.idempotence": True, "acks": "all"})


def _common() -> dict[str, Any]:
    """Raises NotConfigured without KAFKA_BOOTSTRAP_SERVERS."""
    if not settings.TASKS_KAFKA_BOOTSTRAP_SERVERS:
        raise NotConfigured("KAFKA_BOOTSTRAP_SERVERS", "the cluster's brokers, host:port, separated by commas")
    return {
        "bootstrap.servers": settings.TASKS_KAFKA_BOOTSTRAP_SERVERS,
        "client.id": "task-platform",
        **settings.TASKS_KAFKA_OPTIONS,
    }
