"""The topology as exchanges and queues of RabbitMQ, with the arguments that make a queue lose nothing."""

from kombu import Connection, Exchange, Queue

from tasks.topology import DEAD_LETTER_EXCHANGE, TOPOLOGY, UNROUTED_EXCHANGE, UNROUTED_QUEUE

_QUORUM = {"x-queue-type": "quorum"}
# From 4.0 a quorum queue has a limit of 20 by default, and one without dead-letter route deletes what exceeds it.
_KEEPS_EVERYTHING = {**_QUORUM, "x-delivery-limit": 2_000_000_000}


def celery_queues() -> list[Queue]:
    """The work queues with their arguments: Celery reads "quorum" from them and sets its prefetch accordingly."""
    known = _exchanges()
    return [
        Queue(
            queue.name,
            known[queue.exchange],
            routing_key=queue.routing_key,
            durable=True,
            queue_arguments={
                **_QUORUM,
                "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE,
                "x-dead-letter-routing-key": queue.name,
                # At-most-once, the default, drops a dead letter that its queue can not take at that moment. At-least-
                # once silently falls back to it unless the overflow is reject-publish.
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
                "x-delivery-limit": TOPOLOGY.delivery_limit,
            },
        )
        for queue in TOPOLOGY.queues
    ]


def dead_queues() -> list[Queue]:
    """What must keep anything, for ever: no time to live, no length, no dead-letter route, no limit of deliveries."""
    known = _exchanges()
    return [
        *(
            Queue(
                queue.dead_name, known[DEAD_LETTER_EXCHANGE], routing_key=queue.name, queue_arguments=_KEEPS_EVERYTHING
            )
            for queue in TOPOLOGY.queues
        ),
        Queue(UNROUTED_QUEUE, known[UNROUTED_EXCHANGE], queue_arguments=_KEEPS_EVERYTHING),
    ]


def declarations() -> list[Exchange | Queue]:
    """All of it, in an order in which nothing refers to what is not there yet."""
    return [*_exchanges().values(), *dead_queues(), *celery_queues()]


def declare(entity: Exchange | Queue, connection: Connection, *, passive: bool = False) -> None:
    """The exchange or queue without its bindings, on a channel of its own: a refusal closes the channel."""
    with connection.channel() as channel:
        if isinstance(entity, Exchange):
            entity(channel).declare(passive=passive)
        else:
            entity(channel).queue_declare(passive=passive)


def _exchanges() -> dict[str, Exchange]:
    return {
        exchange.name: Exchange(exchange.name, exchange.type, durable=True, auto_delete=False)
        for exchange in TOPOLOGY.exchanges
    }
