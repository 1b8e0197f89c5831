"""What the doctor asks RabbitMQ: over AMQP, and, where RABBITMQ_API_URL is set, by its management API."""

from tasks.brokers.rabbitmq.checks.nodes import NodeChecks
from tasks.brokers.rabbitmq.checks.over_amqp import AmqpChecks, Reaching
from tasks.brokers.rabbitmq.checks.over_api import Api, ApiChecks
from tasks.doctor.check import Check


def checks(reaching: Reaching) -> tuple[Check, ...]:
    """``reaching`` opens the connection, and tells whatever breaks it as BrokerUnavailable."""
    api = Api()
    return (*AmqpChecks(reaching, api).all(), *ApiChecks(api).all(), *NodeChecks(api).all())
