"""BROKER_URL and RABBITMQ_API_URL may name every node of a cluster, as kombu has it: ``amqp://a//;amqp://b//``."""


def nodes(url: str) -> list[str]:
    """One URL a node, in the order in which they are to be tried."""
    return url.split(";")
