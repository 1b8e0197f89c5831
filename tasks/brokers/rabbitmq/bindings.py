"""Which bindings are there: AMQP can make one, and can not ask for it."""

import httpx

from tasks.brokers.rabbitmq import management
from tasks.topology import DEAD_LETTER_EXCHANGE, TOPOLOGY


def missing() -> list[str]:
    """Bindings that are declared and not there; nothing where the API is not configured."""
    if not (api := management.configured()):
        return []
    try:
        found = {
            (binding["source"], binding["destination"], binding["routing_key"])
            for binding in api.get(f"bindings/{management.vhost()}")
        }
    except httpx.HTTPError as error:
        return [f"bindings can not be read: {error}"]
    wanted = [(queue.exchange, queue.name, queue.routing_key) for queue in TOPOLOGY.queues]
    wanted += [(DEAD_LETTER_EXCHANGE, queue.dead_name, queue.name) for queue in TOPOLOGY.queues]
    return [
        f"binding {exchange} -> {queue} by {key!r} is missing"
        for exchange, queue, key in wanted
        if (exchange, queue, key) not in found
    ] + [
        f"binding {exchange} -> {queue} is missing"
        for exchange, queues in TOPOLOGY.fanouts.items()
        for queue in queues
        if not any(source == exchange and destination == queue for source, destination, _ in found)
    ]
