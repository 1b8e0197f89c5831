"""Is it alive, can it take work, does work pile up: what load balancers and monitors ask."""

import logging
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor

from tasks import queues
from tasks.errors import BrokerUnavailable
from tasks.queues import queue_depths
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


@dataclass(frozen=True)
class QueueHealth:
    """``status`` is "OK", "Warning" past the threshold or for a missing queue, or "Error" when nobody can tell."""

    status: str
    message: str
    depths: dict[str, int | None] | None = None
    paused: frozenset[str] = frozenset()

    @property
    def message_count(self) -> int | None:
        return None if self.depths is None else sum(depth or 0 for depth in self.depths.values())


def queue_health() -> QueueHealth:
    """How much work waits in all work queues together; what waits in a paused one is meant to, and is told alone. Never
    raises."""
    limit = settings.TASKS_HEALTH_MAX_MESSAGES
    paused = _paused()
    try:
        depths = queue_depths()
    except BrokerUnavailable as error:
        logger.warning("queue depths are unknown: %s", error)
        return QueueHealth("Error", "The broker can not be asked", paused=paused)
    if missing := [name for name, depth in depths.items() if depth is None]:
        message = f"missing: {', '.join(missing)}; run `manage.py topology apply`"
        return QueueHealth("Warning", message, depths, paused)
    going = {name: depth or 0 for name, depth in depths.items() if name not in paused}
    if (count := sum(going.values())) > limit:
        fullest = max(going, key=going.__getitem__)
        return QueueHealth("Warning", f"{count} messages wait, more than {limit}; most in {fullest}", depths, paused)
    stand_still = [f"{name} is paused, with {depths[name]} messages" for name in depths if name in paused]
    return QueueHealth("OK", "; ".join(["The queues are short", *stand_still]), depths, paused)


def _paused() -> frozenset[str]:
    """With the database away nobody knows of a pause, and the broker can still be asked how much waits."""
    try:
        return queues.paused_names()
    except (DatabaseError, InterfaceError) as error:
        connection.close()
        logger.warning("which queues are paused is unknown: %s", error)
        return frozenset()
