"""What only RabbitMQ's management API can say or do: policies and bindings. Optional, by RABBITMQ_API_URL."""

import re
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx
from django.conf import settings

from tasks.topology import DEAD_LETTER_EXCHANGE, TOPOLOGY, UNROUTED_EXCHANGE

POLICY = "platform-alternate-exchange"
_NOT_CONFIGURED = "RABBITMQ_API_URL is not set"


class _Api:
    def __init__(self, url: str):
        parts = urlsplit(url)
        auth = (unquote(parts.username or ""), unquote(parts.password or ""))
        base = f"{parts.scheme}://{parts.hostname}:{parts.port or 15672}{parts.path.rstrip('/')}"
        self._client = httpx.Client(base_url=base, auth=auth, timeout=5)
        self._vhost = quote(urlsplit(settings.CELERY_BROKER_URL).path[1:] or "/", safe="")

    def get(self, what: str) -> Any:
        response = self._client.get(f"{what}/{self._vhost}")
        response.raise_for_status()
        return response.json()

    def put(self, what: str, name: str, body: dict[str, Any]) -> None:
        self._client.put(f"{what}/{self._vhost}/{name}", json=body).raise_for_status()


def _policy() -> dict[str, Any]:
    """Exchanges carry no arguments, so the alternate exchange of those that lead to a queue is a policy."""
    names = [
        exchange.name
        for exchange in TOPOLOGY.exchanges
        if exchange.type == "direct" and exchange.name != DEAD_LETTER_EXCHANGE
    ]
    return {
        "pattern": f"^({'|'.join(map(re.escape, names))})$",
        "apply-to": "exchanges",
        "definition": {"alternate-exchange": UNROUTED_EXCHANGE},
        "priority": 0,
    }


def set_alternate_exchanges() -> list[str]:
    """What could not be set, in words; empty when the policy is in place."""
    remedy = f"misaddressed messages of foreign producers are not kept in {UNROUTED_EXCHANGE}"
    if not settings.TASKS_RABBITMQ_API_URL:
        return [f"alternate exchange not set: {_NOT_CONFIGURED}; {remedy}"]
    try:
        _Api(settings.TASKS_RABBITMQ_API_URL).put("policies", POLICY, _policy())
    except httpx.HTTPError as error:
        return [f"alternate exchange not set: {error}; {remedy}"]
    return []


def missing_policies() -> list[str]:
    """Drift of the policy; nothing where the API is not configured, since nothing was promised there."""
    if not settings.TASKS_RABBITMQ_API_URL:
        return []
    try:
        found = {policy["name"]: policy for policy in _Api(settings.TASKS_RABBITMQ_API_URL).get("policies")}
    except httpx.HTTPError as error:
        return [f"policies can not be read: {error}"]
    wanted = _policy()
    if POLICY not in found:
        return [f"policy {POLICY} is missing"]
    return [
        f"policy {POLICY} differs: {key} is {found[POLICY].get(key)!r}, declared {wanted[key]!r}"
        for key in ("pattern", "definition", "apply-to")
        if found[POLICY].get(key) != wanted[key]
    ]


def missing_bindings() -> list[str]:
    """Bindings that are declared and not there; nothing where the API is not configured."""
    if not settings.TASKS_RABBITMQ_API_URL:
        return []
    try:
        found = {
            (binding["source"], binding["destination"], binding["routing_key"])
            for binding in _Api(settings.TASKS_RABBITMQ_API_URL).get("bindings")
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
