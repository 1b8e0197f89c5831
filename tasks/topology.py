"""Exchanges, queues and dead-letter routes as data. What a broker declares derives from here and nothing else."""

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Literal

WORK_QUEUE = "work-queue"
PRIORITY_QUEUE = "priority-queue"
DEAD_LETTER_EXCHANGE = "dead-letter-exchange"
JOB_EVENTS_EXCHANGE = "job-events"
UNROUTED_EXCHANGE = "unrouted-exchange"
UNROUTED_QUEUE = "unrouted-queue"
MOST_PREFETCHED = 2000  # unacknowledged messages of one queue that a worker may hold, where its tasks are short


@dataclass(frozen=True)
class Exchange:
    """Where a message is sent. Durable, and without arguments: a foreign client's plain declaration must agree."""

    name: str
    type: Literal["direct", "fanout", "topic"] = "direct"


@dataclass(frozen=True)
class Queue:
    """Where jobs wait: durable, replicated, and what it rejects goes to its own ``.dead`` queue."""

    name: str
    exchange: str
    routing_key: str

    @property
    def dead_name(self) -> str:
        """The queue that keeps what this one rejects."""
        return f"{self.name}.dead"


@dataclass(frozen=True)
class Topology:
    """The whole of what a broker must hold before a message is sent."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    fanouts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    delivery_limit: int = 20  # a message handed out this often kills its workers: bury it

    def queue(self, name: str) -> Queue:
        """The queue called ``name``. Raises KeyError naming the ones there are."""
        for queue in self.queues:
            if queue.name == name:
                return queue
        raise KeyError(f"no queue {name!r}; there are {', '.join(queue.name for queue in self.queues)}")

    @property
    def queue_names(self) -> tuple[str, ...]:
        return tuple(queue.name for queue in self.queues)

    def exchanges_to(self, queues: Set[str]) -> frozenset[str]:
        """The exchanges by which a message may have come to one of ``queues``."""
        of_their_own = {queue.exchange for queue in self.queues if queue.name in queues}
        return frozenset(of_their_own | {name for name, reached in self.fanouts.items() if queues & set(reached)})


def _queue(name: str) -> Queue:
    return Queue(f"{name}-queue", f"{name}-exchange", name)


_QUEUES = tuple(map(_queue, ("email", "sms", "push", "report", "image", "work", "priority", "request")))

TOPOLOGY = Topology(
    exchanges=(
        *(Exchange(queue.exchange) for queue in _QUEUES),
        Exchange("notification-exchange", "fanout"),
        Exchange(JOB_EVENTS_EXCHANGE, "topic"),
        Exchange(DEAD_LETTER_EXCHANGE),
        Exchange(UNROUTED_EXCHANGE, "fanout"),
    ),
    queues=_QUEUES,
    fanouts={"notification-exchange": ("email-queue", "sms-queue", "push-queue")},
)
