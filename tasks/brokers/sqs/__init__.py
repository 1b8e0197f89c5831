"""Amazon SQS: a standard queue for each work queue, and its dead-letter queue. It keeps no order, has no exchanges, and
sends no replies: docs/sqs.md says what that means here."""

from kombu import Exchange, Queue

from tasks.brokers.sqs.broker import SQS
from tasks.topology import TOPOLOGY

__all__ = ["SQS", "celery_queues", "connect"]


def connect(url: str) -> SQS:
    return SQS()


def celery_queues() -> list[Queue]:
    return [Queue(queue.name, Exchange(queue.exchange), routing_key=queue.routing_key) for queue in TOPOLOGY.queues]
