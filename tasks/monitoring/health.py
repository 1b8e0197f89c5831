"""Is it alive, can it take work, does work pile up: what load balancers and monitors ask."""

import logging
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor

from tasks import brokers
from tasks.brokers import QueueMissing
from tasks.errors import BrokerUnavailable
from tasks.topology import TOPOLOGY

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Readiness:
    """``ready`` means: work is accepted and kept. The broker is told, and does not decide: the rows are the outbox."""

    ready: bool
    checks: dict[str, str]


def readiness() -> Readiness:
    """Never raises; each check is "ok" or says what is wrong."""
    checks = {"database": "ok", "migrations": "ok", "broker": "ok"}
    try:
        pending = MigrationExecutor(connection).migration_plan(MigrationExecutor(connection).loader.graph.leaf_nodes())
        if pending:
            checks["migrations"] = f"{len(pending)} not applied: run `manage.py migrate`"
    except (DatabaseError, InterfaceError) as error:
        connection.close()
        logger.warning("not ready: %s", error)  # the answer goes to anybody, and must not tell addresses
        checks["database"] = checks["migrations"] = "unreachable"
    ready = checks["database"] == checks["migrations"] == "ok"
    try:
        queue_depths((TOPOLOGY.queue_names[0],))
    except BrokerUnavailable:
        checks["broker"] = "unreachable: jobs are accepted, and published when it is back"
    return Readiness(ready, checks)


def queue_depths(names: tuple[str, ...] = TOPOLOGY.queue_names) -> dict[str, int | None]:
    """Messages ready in each queue; None for one that does not exist. Raises BrokerUnavailable: unknown is not zero."""
    broker = brokers.connect()
    try:
        depths: dict[str, int | None] = {}
        for name in names:
            try:
                depths[name] = broker.depth(name)
            except QueueMissing:
                depths[name] = None
        return depths
    finally:
        broker.close()


@dataclass(frozen=True)
class QueueHealth:
    """``status`` is "OK", "Warning" past the threshold or for a missing queue, or "Error" when nobody can tell."""

    status: str
    message: str
    depths: dict[str, int | None] | None = None

    @property
    def message_count(self) -> int | None:
        return None if self.depths is None else sum(depth or 0 for depth in self.depths.values())


def queue_health() -> QueueHealth:
    """How much work waits in all work queues together. Never raises."""
    limit = settings.TASKS_HEALTH_MAX_MESSAGES
    try:
        depths = queue_depths()
    except BrokerUnavailable as error:
        logger.warning("queue depths are unknown: %s", error)
        return QueueHealth("Error", "The broker can not be asked")
    health = QueueHealth("OK", "The queues are short", depths)
    if missing := [name for name, depth in depths.items() if depth is None]:
        return QueueHealth("Warning", f"missing: {', '.join(missing)}; run `manage.py topology apply`", depths)
    if (health.message_count or 0) > limit:
        fullest = max(depths, key=lambda name: depths[name] or 0)
        return QueueHealth(
            "Warning", f"{health.message_count} messages wait, more than {limit}; most in {fullest}", depths
        )
    return health
