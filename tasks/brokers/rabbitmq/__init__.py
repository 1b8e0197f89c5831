"""RabbitMQ 3.10 and later, over AMQP 0-9-1; its management API, where configured, adds what AMQP can not say."""

from tasks.brokers.rabbitmq.any_text import accept_any_text
from tasks.brokers.rabbitmq.connection import RabbitMQ
from tasks.brokers.rabbitmq.declaration import celery_queues

__all__ = ["RabbitMQ", "celery_queues", "connect"]

accept_any_text()


def connect(url: str) -> RabbitMQ:
    return RabbitMQ(url)
