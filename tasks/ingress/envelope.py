"""The envelope of foreign producers, and what is wrong with one. docs/envelopes.md is this for those who write one.

Members that it does not know are ignored: whoever sends it may need them elsewhere. Those within ``data`` are not: a
payload that is not understood whole is refused, as over HTTP.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any

from django.conf import settings
from django.utils import timezone
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from tasks.dispatch import MAX_TEXT
from tasks.models import DeadLetter
from tasks.payloads import problems_of
from tasks.states import Priority, as_priority
from tasks.worker.envelope import WrongMessage

Reason = DeadLetter.Reason

FURTHEST_AHEAD = timedelta(days=1)
"""How far in the future a message may have been written, by its own clock."""
ROOM_BYTES = 65_536
"""What an envelope may have around the largest payload."""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A message as it came in."""

    body: bytes
    source: str
    """What brought it: "amqp", "sqs", "kafka"."""
    place: str
    """The queue or topic it came from."""
    key: str = ""
    """The same in every delivery of this message, where its transport knows such a thing."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """What the transport says beside the body: idempotency_key, message_id, correlation_id, reply_to, priority,
    timestamp, ordering_key. The first two and the last win over the body; the others fill what it leaves out."""
    headers: Mapping[str, Any] = field(default_factory=dict)
    exchange: str = ""
    routing_key: str = ""

    @property
    def origin(self) -> str:
        """Who asks, for the job's row: producers have no names here."""
        return f"{self.source}:{self.place}"


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_as_text)]


class Envelope(BaseModel):
    """What a foreign producer writes: a type, its data, and what it wants to be known with them."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    type: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    data: dict[str, Any]
    id: Text | None = None
    timestamp: datetime | None = None
    priority: Annotated[Priority, BeforeValidator(as_priority)] | None = None
    retry_count: Annotated[int, Field(ge=0)] | None = None
    correlation_id: Text | None = None
    reply_to: str | None = None
    ordering_key: Text | None = None


def read(arrival: Arrival) -> Envelope:
    """The envelope, complete with what its transport says beside it. Raises WrongMessage, which names the member."""
    content = _json(arrival.body)
    if not isinstance(content, dict):
        raise WrongMessage(Reason.UNKNOWN_MESSAGE, 'is no envelope: send an object, {"type": …, "data": {…}}')
    beside = {name: value for name, value in arrival.properties.items() if value not in (None, "")}
    content = {name: value for name, value in content.items() if value is not None}
    for name in ("correlation_id", "reply_to", "priority", "timestamp"):
        if name in beside:
            content.setdefault(to_camel(name), beside[name])
    if "ordering_key" in beside:
        content["orderingKey"] = beside["ordering_key"]
    if id := beside.get("idempotency_key") or beside.get("message_id"):
        content["id"] = id
    try:
        envelope = Envelope.model_validate(content)
    except ValidationError as error:
        raise WrongMessage(Reason.UNKNOWN_MESSAGE, _in_words(problems_of(error))) from None
    if envelope.timestamp is not None:
        _check_clock(envelope.timestamp)
    return envelope


def key_of(arrival: Arrival, envelope: Envelope) -> str | None:
    """The idempotency key of what the message asks for; None where neither it nor its transport gives one."""
    key = envelope.id or arrival.key
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest() if len(key) > MAX_TEXT else key or None


def digest_of(envelope: Envelope) -> str:
    """Of what makes two messages of one id the same request: when, and how often, it was sent does not."""
    return sha256(json.dumps([envelope.type, envelope.data], sort_keys=True).encode()).hexdigest()


def in_data(problems: Iterable[dict[str, str]]) -> str:
    """What is wrong with the payload, where the producer wrote it."""
    return "; ".join(
        f"{'data' + problem['field'][7:] if problem['field'].startswith('payload') else problem['field']} "
        f"{problem['message']}"
        for problem in problems
    )


def _json(body: bytes) -> Any:
    most = settings.TASKS_MAX_PAYLOAD_BYTES + ROOM_BYTES
    if len(body) > most:
        raise WrongMessage(Reason.UNDECODABLE, f"has {len(body):,} bytes; an envelope may have {most:,}")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise WrongMessage(Reason.UNDECODABLE, f"body is not JSON: {error}") from None


def _in_words(problems: list[dict[str, str]]) -> str:
    return "; ".join(f"{problem['field'].removeprefix('payload.')}: {problem['message']}" for problem in problems)


def _check_clock(timestamp: datetime) -> None:
    written_at = timestamp if timezone.is_aware(timestamp) else timestamp.replace(tzinfo=UTC)
    ahead = written_at - timezone.now()
    if ahead > FURTHEST_AHEAD:
        raise WrongMessage(
            Reason.UNKNOWN_MESSAGE,
            f"timestamp: {timestamp.isoformat()} lies {ahead.days:,} days ahead: set the producer's clock",
        )
