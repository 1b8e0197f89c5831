"""A broker inside the process, for tests: it keeps what it is given and never loses the connection."""

from collections.abc import Callable, Sequence

from kombu import Exchange, Queue

from tasks.brokers.base import Answers, DeadMessage, JobMessage, Reply, TopicMessage
from tasks.doctor.check import Check
from tasks.topology import TOPOLOGY

published: list[JobMessage] = []
"""Every message of the process, oldest first. Tests read and clear it."""

told: list[TopicMessage] = []
"""As ``published``, of what went to topic exchanges."""

replies: list[Reply] = []
"""As ``published``, of replies. A queue called "gone" takes none."""


def connect(url: str) -> "MemoryBroker":
    return MemoryBroker()


def celery_queues() -> list[Queue]:
    return [Queue(queue.name, Exchange(queue.exchange), routing_key=queue.routing_key) for queue in TOPOLOGY.queues]


class MemoryBroker:
    """brokers.base.Broker says what each method promises."""

    def __init__(self) -> None:
        self._sent: set[str] = set()

    def publish(self, messages: Sequence[JobMessage]) -> set[str]:
        published.extend(messages)
        return {message.id for message in messages}

    def send(self, messages: Sequence[JobMessage]) -> None:
        self._sent |= self.publish(messages)

    def answers(self, timeout_seconds: float) -> Answers:
        confirmed, self._sent = self._sent, set()
        return Answers(confirmed, set())

    def publish_again(self, dead: DeadMessage) -> bool:
        return True

    def publish_to_topic(self, exchange: str, messages: Sequence[TopicMessage]) -> None:
        told.extend(messages)

    def reply(self, given: Sequence[Reply]) -> set[str]:
        taken = [reply for reply in given if reply.to != "gone"]
        replies.extend(taken)
        return {reply.id for reply in taken}

    def depth(self, queue: str) -> int:
        return sum(message.queue == queue for message in published)

    def consume_dead(self, handle: Callable[[DeadMessage], None], *, keep_going: Callable[[], bool]) -> None:
        return None

    def apply_topology(self) -> list[str]:
        return []

    def check_topology(self) -> list[str]:
        return []

    def checks(self) -> Sequence[Check]:
        return ()

    def close(self) -> None:
        return None
