"""What only the management API tells: bindings, policies, other people's consumers, other people's accounts."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.conf import settings

from tasks.brokers.rabbitmq import bindings, management, policies
from tasks.brokers.rabbitmq.declaration import celery_queues, dead_queues
from tasks.brokers.rabbitmq.management import Management
from tasks.doctor.check import Check, Finding, Unknown, in_one_line
from tasks.doctor.limits import MARGIN_SECONDS, longest_task
from tasks.topology import MOST_PREFETCHED, TOPOLOGY, UNROUTED_EXCHANGE, UNROUTED_QUEUE

# A policy can add these to a queue; each throws away what waits, or keeps new messages out.
_LOSING_KEYS = ("message-ttl", "expires", "max-length", "max-length-bytes")
API_NEEDS = ("management",)


class Api:
    """Answers that several checks look at, each asked for once."""

    def get(self, path: str) -> Any:
        api = management.configured()
        if api is None:
            raise LookupError("RABBITMQ_API_URL is not set")
        return api.get(path)

    def get_of_vhost(self, path: str) -> list[dict[str, Any]]:
        return self.get(f"{path}/{management.vhost()}")

    @cached_property
    def nodes(self) -> list[dict[str, Any]]:
        return self.get("nodes")

    @cached_property
    def queues(self) -> list[dict[str, Any]]:
        """Those of the topology that are there."""
        ours = {queue.name for queue in (*celery_queues(), *dead_queues())}
        return [queue for queue in self.get_of_vhost("queues") if queue["name"] in ours]

    def type_of(self, queue: str) -> str | None:
        """Quorum, classic or stream; None where the API can not be asked."""
        try:
            return next((found["type"] for found in self.queues if found["name"] == queue), None)
        except (httpx.HTTPError, LookupError):
            return None


class ApiChecks:
    def __init__(self, api: Api):
        self._api = api

    def all(self) -> tuple[Check, ...]:
        return (
            Check("management", "RabbitMQ's management API answers", self.management),
            Check("guest", "RabbitMQ does not let in guest with the password guest", self.guest, API_NEEDS),
            Check("bindings", "every declared binding is there", self.bindings, API_NEEDS),
            Check(
                "policies", "misaddressed messages are kept, and no policy throws any away", self.policies, API_NEEDS
            ),
            Check("consumer-timeouts", "no queue has a shorter one of its own", self.consumer_timeouts, API_NEEDS),
            Check(
                "consumer-prefetch",
                "every consumer acknowledges, and holds no more than it runs",
                self.prefetch,
                (*API_NEEDS, "database"),
            ),
            Check("feature-flags", "what quorum queues need is enabled", self.feature_flags, API_NEEDS),
        )

    def management(self) -> Iterator[Finding | Unknown]:
        if not settings.TASKS_RABBITMQ_API_URL:
            yield Unknown(
                "RABBITMQ_API_URL is not set, and AMQP tells nothing of nodes, alarms, replicas, bindings and policies",
                "Set RABBITMQ_API_URL=http://user:password@host:15672/api/, of a user with the tag `monitoring`.",
            )
            return
        try:
            self._api.get("whoami")
        except httpx.HTTPError as error:
            yield Finding(
                f"RabbitMQ's management API does not answer: {in_one_line(error)}",
                "Correct RABBITMQ_API_URL; `rabbitmq-plugins enable rabbitmq_management` starts the API.",
            )

    def guest(self) -> Iterator[Finding]:
        """By trying: RabbitMQ makes the account by itself, and only a setting keeps it to loopback."""
        for url in settings.TASKS_RABBITMQ_API_URL.split(";"):
            parts = urlsplit(url)
            host = parts.netloc.rpartition("@")[2]
            try:
                Management(parts._replace(netloc=f"guest:guest@{host}").geturl()).get("whoami")
            except httpx.HTTPStatusError:
                continue
            yield Finding(
                f"RabbitMQ at {host} lets in guest with the password guest",
                "Let BROKER_URL and RABBITMQ_API_URL name another user, then run `rabbitmqctl delete_user guest`.",
            )

    def bindings(self) -> Iterator[Finding | Unknown]:
        remedy = "Run `manage.py topology apply`; until then messages miss their queue."
        yield from (_of_line(line, remedy) for line in bindings.missing())
        found = {(binding["source"], binding["destination"]) for binding in self._api.get_of_vhost("bindings")}
        if (UNROUTED_EXCHANGE, UNROUTED_QUEUE) not in found:
            # the alternate exchange takes such a message, so its publisher is told that it arrived
            yield Finding(f"binding {UNROUTED_EXCHANGE} -> {UNROUTED_QUEUE} is missing", remedy)

    def policies(self) -> Iterator[Finding | Unknown]:
        remedy = "Run `manage.py topology apply`; until then misaddressed messages of foreign producers are lost."
        yield from (_of_line(line, remedy) for line in policies.missing())
        yield from self._hidden_policies()
        for queue in self._api.queues:
            losing = [key for key in _LOSING_KEYS if key in _policy_of(queue)]
            if losing:
                yield Finding(
                    f"the policy {queue.get('policy') or queue.get('operator_policy')} sets {' and '.join(losing)} on "
                    f"{queue['name']}: what waits there may be thrown away",
                    "Give that policy a pattern that spares the platform's queues.",
                )

    def _hidden_policies(self) -> Iterator[Finding]:
        ours = {queue.exchange for queue in TOPOLOGY.queues}
        for exchange in self._api.get_of_vhost("exchanges"):
            policy = exchange.get("policy")
            if exchange["name"] in ours and policy and policy != policies.POLICY:
                yield Finding(
                    f"the policy {policy} hides {policies.POLICY} on {exchange['name']}: only one counts, and messages "
                    "misaddressed there are lost",
                    f"Give {policy} a pattern that spares the platform's exchanges, or a priority below 0.",
                )

    def consumer_timeouts(self) -> Iterator[Finding]:
        """From 3.12 on, an argument or a policy may give a queue a timeout that is not the node's."""
        for queue in self._api.queues:
            given = queue["arguments"].get("x-consumer-timeout") or _policy_of(queue).get("consumer-timeout")
            longest = longest_task([queue["name"]])
            if given and longest and given / 1000 < longest.time_limit_seconds + MARGIN_SECONDS:
                yield Finding(
                    f"{queue['name']} takes back what is not acknowledged within {given / 1000:g} s, and "
                    f"{longest.name} may run for {longest.time_limit_seconds:g} s",
                    f"Raise consumer-timeout to {(longest.time_limit_seconds + MARGIN_SECONDS) * 1000:.0f} ms or more.",
                )

    def prefetch(self) -> Iterator[Finding]:
        """A worker of ours asks, of each queue, for as many messages as it has processes, and for many where they are
        short."""
        for consumer in self._api.get_of_vhost("consumers"):
            queue, prefetch = consumer["queue"]["name"], consumer["prefetch_count"]
            if queue not in TOPOLOGY.queue_names:
                continue
            if not consumer["ack_required"]:
                yield Finding(
                    f"a consumer of {queue} acknowledges before it works: what it takes is lost when it dies",
                    "It is no worker of this platform. `rabbitmqctl list_consumers` names it; end it.",
                )
                continue
            if prefetch == 0 or prefetch > MOST_PREFETCHED:
                held = "all there is" if prefetch == 0 else f"{prefetch} messages"
                yield Finding(
                    f"a consumer of {queue} takes {held} at once: they wait behind long ones while other workers idle",
                    "Start its worker without --prefetch-multiplier, and keep worker_prefetch_multiplier at 1.",
                )

    def feature_flags(self) -> Iterator[Finding]:
        """A cluster that was upgraded keeps new ones disabled until somebody enables them."""
        for flag in self._api.get("feature-flags"):
            if flag["name"] in ("quorum_queue", "stream_queue") and flag["state"] == "disabled":
                yield Finding(
                    f"the feature flag {flag['name']} is disabled: dead letters may be dropped on their way",
                    f"Run `rabbitmqctl enable_feature_flag {flag['name']}`.",
                )


def _of_line(line: str, remedy: str) -> Finding | Unknown:
    if "can not be read" in line:
        return Unknown(line.partition("\n")[0], "Give the user of RABBITMQ_API_URL the tag `monitoring`.")
    return Finding(line, remedy)


def _policy_of(queue: dict[str, Any]) -> dict[str, Any]:
    return queue.get("effective_policy_definition") or {}
