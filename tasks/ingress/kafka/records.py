"""Records as arrivals, and wrong ones as records of a dead-letter topic."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from tasks.ingress.envelope import Arrival
from tasks.ingress.kafka.client import DEAD
from tasks.worker.envelope import WrongMessage

IDEMPOTENCY_KEY = "idempotency-key"
_WITHOUT_TIME = 0
_BESIDE = {"idempotency-key": "idempotency_key", "correlation-id": "correlation_id", "priority": "priority"}


def arrival_of(record: Any) -> Arrival:
    """A record of librdkafka's. Its place in the topic is its key where its producer gave it none."""
    headers = {name: _text(value) for name, value in record.headers() or ()}
    properties: dict[str, Any] = {_BESIDE[name]: value for name, value in headers.items() if name in _BESIDE}
    if record.key() is not None:
        properties["ordering_key"] = _text(record.key())
    kind, milliseconds = record.timestamp()
    if kind != _WITHOUT_TIME:
        properties["timestamp"] = _moment(milliseconds)
    return Arrival(
        body=record.value() or b"",
        source="kafka",
        place=record.topic(),
        key=f"kafka:{record.topic()}:{record.partition()}:{record.offset()}",
        properties=properties,
        headers=headers,
        routing_key=f"{record.partition()}:{record.offset()}",
    )


def dead_record(record: Any, wrong: WrongMessage) -> dict[str, Any]:
    """What is produced to the dead-letter topic: the record as it was, and why it is there."""
    why = {
        "reason": wrong.reason,
        "error": str(wrong)[:1000],
        "topic": record.topic(),
        "partition": record.partition(),
        "offset": record.offset(),
    }
    headers: Iterable[tuple[str, Any]] = record.headers() or ()
    kept = [(name, value) for name, value in headers if not name.startswith("x-death-")]
    return {
        "topic": f"{record.topic()}{DEAD}",
        "key": record.key(),
        "value": record.value(),
        "headers": kept + [(f"x-death-{name}", str(value).encode("utf-8", "replace")) for name, value in why.items()],
    }


def _text(value: bytes | str | None) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value or ""


def _moment(milliseconds: int) -> datetime | int:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):  # a year that Python has no name for: the envelope says so
        return milliseconds
