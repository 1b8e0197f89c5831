"""Shared by all tiers. `make test` brings RabbitMQ, PostgreSQL and Redis and sets the environment."""

import pytest

from tasks import publisher
from tasks.brokers import JobMessage


class Outbox(list[JobMessage]):
    """What was handed to the publisher, in place of a broker."""

    def publish(self, messages: list[JobMessage]) -> None:
        self.extend(messages)


@pytest.fixture
def outbox(monkeypatch: pytest.MonkeyPatch) -> Outbox:
    """Messages handed to the publisher land here and nowhere else."""
    kept = Outbox()
    monkeypatch.setattr(publisher, "publish", kept.publish)
    return kept
