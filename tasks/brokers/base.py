"""What the platform asks of a broker. One object is one connection, for one thread."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from tasks.doctor.check import Check


@dataclass(frozen=True)
class JobMessage:
    """All that travels: which attempt of which job is wanted. The payload stays in the database."""

    job_id: UUID
    attempt: int
    task: str
    queue: str

    @property
    def id(self) -> str:
        """The Celery task id of the attempt, and the message's id."""
        return f"{self.job_id}.{self.attempt}"


@dataclass(frozen=True)
class DeadMessage:
    """A message found in a dead queue, as the broker kept it."""

    dead_queue: str
    queue: str
    """The queue that gave it up; "" when it never reached one."""
    body: bytes
    exchange: str
    routing_key: str
    content_type: str | None = None
    content_encoding: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    deaths: list[dict[str, Any]] = field(default_factory=list)
    """Newest first: queue, reason ("rejected", "delivery_limit", "expired"), count, time."""


class Answers(NamedTuple):
    """Ids of messages that were sent."""

    confirmed: set[str]
    refused: set[str]


class TopicMessage(NamedTuple):
    """What is published to a topic exchange. ``id`` is the message's, and unique among those published together."""

    id: str
    routing_key: str
    body: bytes


class Reply(NamedTuple):
    """The outcome of a job for whoever waits at the queue ``to``. ``id`` is the message's, and unique among those sent
    together."""

    id: str
    to: str
    correlation_id: str
    body: bytes


class Broker(Protocol):
    """Every method raises BrokerUnavailable when the broker can not be reached or does not answer in time."""

    def publish(self, messages: Sequence[JobMessage]) -> set[str]:
        """Send ``messages`` and wait for the broker to have them on disk. Returns the ids it confirmed; one that is
        missing may or may not have arrived, so sending it again is right and a duplicate is possible."""

    def send(self, messages: Sequence[JobMessage]) -> None:
        """Send ``messages`` and wait for nothing. What becomes of them, ``answers`` tells."""

    def answers(self, timeout_seconds: float) -> "Answers":
        """What the broker said of what was sent since it was last asked; the first of it is waited for. It says
        something of each message in the end, or this raises."""

    def publish_again(self, dead: DeadMessage) -> bool:
        """Send a dead message, byte for byte, to where it was first addressed. Whether the broker confirmed it."""

    def publish_to_topic(self, exchange: str, messages: Sequence[TopicMessage]) -> None:
        """Send JSON ``messages`` to a topic exchange, in order, and return once the broker has copies of each on disk
        for every queue that is bound. Raises BrokerUnavailable unless it has all."""

    def reply(self, replies: Sequence[Reply]) -> set[str]:
        """Send JSON ``replies``, each to its queue and nowhere else. Returns the ids of those that a queue has taken;
        nobody waits at the queues of the others any more."""

    def depth(self, queue: str) -> int:
        """Messages ready in ``queue``. Raises QueueMissing when it does not exist."""

    def consume_dead(self, handle: Callable[[DeadMessage], None], *, keep_going: Callable[[], bool]) -> None:
        """Give every dead or misaddressed message to ``handle``, acknowledging each only after it returned, until
        ``keep_going`` says no (asked at least once a second)."""

    def apply_topology(self) -> list[str]:
        """Declare what is missing; safe to repeat. Returns what could not be set, in words."""

    def check_topology(self) -> list[str]:
        """How the broker differs from the declaration, one line each; empty when they agree."""

    def checks(self) -> Sequence[Check]:
        """What the doctor can ask this broker alone; the one called "broker" says whether it answers at all."""

    def close(self) -> None:
        """Let go of the connection. Never raises."""


class QueueMissing(LookupError):
    """The broker answers, and has no such queue."""


class TopologyMismatch(Exception):
    """The broker holds an exchange or queue of that name with other arguments. ``lines`` say which."""

    def __init__(self, lines: Iterable[str]):
        self.lines = list(lines)
        super().__init__("; ".join(self.lines))
