"""The alternate exchange, where misaddressed messages go: a policy, because our exchanges carry no arguments."""

import re
from typing import Any

import httpx

from tasks.brokers.rabbitmq import management
from tasks.topology import DEAD_LETTER_EXCHANGE, TOPOLOGY, UNROUTED_EXCHANGE

POLICY = "platform-alternate-exchange"


def set_alternate_exchanges() -> list[str]:
    """What could not be set, in words; empty when the policy is in place."""
    remedy = f"misaddressed messages of foreign producers are not kept in {UNROUTED_EXCHANGE}"
    if not (api := management.configured()):
        return [f"alternate exchange not set: RABBITMQ_API_URL is not set; {remedy}"]
    try:
        api.put(f"policies/{management.vhost()}/{POLICY}", alternate_exchanges())
    except httpx.HTTPError as error:
        return [f"alternate exchange not set: {error}; {remedy}"]
    return []


def missing() -> list[str]:
    """Drift of the policy; nothing where the API is not configured, since nothing was promised there."""
    if not (api := management.configured()):
        return []
    try:
        found = {policy["name"]: policy for policy in api.get(f"policies/{management.vhost()}")}
    except httpx.HTTPError as error:
        return [f"policies can not be read: {error}"]
    wanted = alternate_exchanges()
    if POLICY not in found:
        return [f"policy {POLICY} is missing"]
    return [
        f"policy {POLICY} differs: {key} is {found[POLICY].get(key)!r}, declared {wanted[key]!r}"
        for key in ("pattern", "definition", "apply-to")
        if found[POLICY].get(key) != wanted[key]
    ]


def alternate_exchanges() -> dict[str, Any]:
    """For the exchanges that lead to a queue."""
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
