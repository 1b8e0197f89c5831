"""Messages in a worker's queues that are no job messages: envelopes of foreign producers, and whatever else came.

They are accepted many at a time, between the claims of jobs, so that a flood of them holds up no job for long: what
they ask for is queued behind what was there before.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from celery.utils.log import get_logger
from django.db import connection

from tasks.brokers.rabbitmq.any_text import as_text
from tasks.errors import KeyInUse
from tasks.ingress.accepting import accept
from tasks.ingress.envelope import Arrival
from tasks.topology import TOPOLOGY
from tasks.worker.deliveries import Deliveries
from tasks.worker.recording import OUTAGE

logger = get_logger(__name__)

AT_ONCE = 200
DATABASE_PAUSE_SECONDS = 1.0
KEY_PAUSE_SECONDS = 0.1

_PROPERTIES = (
    "message_id", "idempotency_key", "correlation_id", "reply_to", "ordering_key", "priority", "timestamp", "type",
    "app_id", "user_id",
)  # fmt: skip


def is_foreign(headers: Mapping[str, Any] | None) -> bool:
    """Whether a message can not be a job's, which has a task and an id in its headers."""
    return not headers or ("task" not in headers and "id" not in headers)


class Foreign:
    """Those that have arrived and have no row yet. For the thread that owns the connection.

    ``soon`` and ``later`` call back on the loop's own turn; ``deliveries`` are those of the present connection.
    """

    def __init__(
        self,
        *,
        soon: Callable[[Callable[[], object]], object],
        later: Callable[[float, Callable[[], object]], object],
        deliveries: Callable[[], Deliveries],
    ) -> None:
        self._soon, self._later, self._deliveries = soon, later, deliveries
        self._waiting: deque[tuple[Any, Arrival]] = deque()
        self._will_accept = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, message: Any, queue: str) -> None:
        """It has just come, from ``queue``."""
        self._waiting.append((message, arrival_of(message, queue)))
        self._accept_soon()

    def drop(self) -> list[Any]:
        """All that waits, which is accepted no more, the first first."""
        dropped = [message for message, _ in self._waiting]
        self._waiting.clear()
        self._will_accept = False  # a loop that failed may have lost its timers
        return dropped

    def _accept_soon(self) -> None:
        if self._waiting and not self._will_accept:
            self._will_accept = True
            self._soon(self._accept)

    def _accept(self) -> None:
        """Acknowledge as many as get their rows now. With the database away they are held."""
        self._will_accept = False
        taken = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        if not taken:
            return
        try:
            accept([arrival for _, arrival in taken])
        except OUTAGE as error:
            connection.close()
            logger.warning("%d envelopes wait for the database: %s", len(taken), str(error).strip())
            self._put_back(taken, DATABASE_PAUSE_SECONDS)
        except KeyInUse:
            self._put_back(taken, KEY_PAUSE_SECONDS)
        else:
            self._deliveries().acknowledge(message for message, _ in taken)
            self._accept_soon()

    def _put_back(self, taken: list[tuple[Any, Arrival]], pause_seconds: float) -> None:
        self._waiting.extendleft(reversed(taken))
        self._will_accept = True
        self._later(pause_seconds, self._accept)


def arrival_of(message: Any, queue: str) -> Arrival:
    """A kombu message as an arrival. A transport that is not AMQP's says so in the delivery's info."""
    body, info = message.body, message.delivery_info
    headers = dict(message.headers or {})
    properties = {name: message.properties[name] for name in _PROPERTIES if message.properties.get(name) is not None}
    if (key := headers.get("idempotency-key")) is not None:
        properties["idempotency_key"] = str(key)
    return Arrival(
        body=body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body),
        source=info.get("source", "amqp"),
        place=queue,
        key=info.get("key", ""),
        properties=properties,
        headers=headers,
        exchange=as_text(info.get("exchange") or ""),
        routing_key=as_text(info.get("routing_key") or ""),
    )


def queue_of(message: Any, tags: Mapping[str, str]) -> str:
    """The queue a message came from: by its consumer's tag where the transport has tags, else by its address."""
    info = message.delivery_info
    if queue := tags.get(info.get("consumer_tag", "")):
        return queue
    exchange, routing_key = info.get("exchange"), info.get("routing_key")
    named = (queue.name for queue in TOPOLOGY.queues if exchange == queue.exchange or routing_key == queue.name)
    return next(named, str(routing_key or ""))
