"""A vhost per test on the RabbitMQ that `make test` brings: tests never see each other's queues."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx


@contextmanager
def vhost(broker_url: str, api_url: str, name: str) -> Iterator[str]:
    """The AMQP URL of a new vhost, deleted afterwards; of a cluster every node's URL, the first one being asked."""
    nodes, api = [urlsplit(node) for node in broker_url.split(";")], urlsplit(api_url.split(";")[0])
    user, password = api.username or "", api.password or ""
    base = f"http://{api.hostname}:{api.port}/api"
    with httpx.Client(base_url=base, auth=(user, password), timeout=20) as client:
        client.put(f"/vhosts/{name}").raise_for_status()
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        client.put(f"/permissions/{name}/{nodes[0].username}", json=rights).raise_for_status()
        try:
            yield ";".join(f"{node.scheme}://{node.netloc}/{name}" for node in nodes)
        finally:
            client.delete(f"/vhosts/{name}")
