"""Real RabbitMQ, in a vhost of the test's own."""

import uuid
from collections.abc import Iterator

import pytest

from tasks import brokers
from tasks.brokers.rabbitmq import RabbitMQ
from tests.vhosts import vhost


@pytest.fixture
def broker_url(settings) -> Iterator[str]:
    """BROKER_URL of an empty vhost, set for the test."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    with vhost(settings.CELERY_BROKER_URL, settings.TASKS_RABBITMQ_API_URL, name) as url:
        settings.CELERY_BROKER_URL = url
        yield url


@pytest.fixture
def broker(broker_url: str) -> Iterator[RabbitMQ]:
    """A connection with the topology in place."""
    connected = brokers.connect()
    connected.apply_topology()
    yield connected
    connected.close()
