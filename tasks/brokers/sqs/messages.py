"""Our messages as those of SQS, and the other way round. A job message is its body and a few attributes, so that it can
be read in Amazon's console; foreign ones are whatever they are."""

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

from tasks.brokers.base import DeadMessage, JobMessage
from tasks.topology import PRIORITY_QUEUE, TOPOLOGY

JOB_BODY = "[[], {}, {}]"
MOST_ATTRIBUTES = 10
DEATH = "Death"
_WORDS = {
    "IdempotencyKey": "idempotency_key",
    "CorrelationId": "correlation_id",
    "Priority": "priority",
    "Timestamp": "timestamp",
}


def job_entry(message: JobMessage, entry_id: str) -> dict[str, Any]:
    """A job message as an entry of a batch."""
    said = {
        "task": message.task,
        "id": message.id,
        "Priority": "high" if message.queue == PRIORITY_QUEUE else "normal",
        "Timestamp": str(int(time.time() * 1000)),
    }
    return {"Id": entry_id, "MessageBody": JOB_BODY, "MessageAttributes": _as_attributes(said)}


def headers_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that its producer gave a message, as text; binary ones as base64."""
    found: dict[str, Any] = {}
    for name, value in (message.get("MessageAttributes") or {}).items():
        raw = value.get("StringValue", value.get("BinaryValue", ""))
        found[name] = base64.b64encode(raw).decode() if isinstance(raw, bytes) else raw
    return found


def receives_of(message: Mapping[str, Any]) -> int:
    """How often it has been handed out, this time included."""
    return int((message.get("Attributes") or {}).get("ApproximateReceiveCount", 1))


def beside(message: Mapping[str, Any]) -> dict[str, Any]:
    """What a foreign message says beside its body, in the words of an envelope."""
    headers, system = headers_of(message), message.get("Attributes") or {}
    found: dict[str, Any] = {word: headers[name] for name, word in _WORDS.items() if name in headers}
    if "idempotency_key" not in found and (given := system.get("MessageDeduplicationId")):
        found["idempotency_key"] = given
    if group := system.get("MessageGroupId"):
        found["ordering_key"] = group
    if str(found.get("timestamp", "")).isdigit():
        found["timestamp"] = int(found["timestamp"])
    return found


def key_of(message: Mapping[str, Any]) -> str:
    """The same in every delivery."""
    return f"sqs:{message['MessageId']}"


def payload_of(message: Mapping[str, Any], queue_name: str, tag: str) -> dict[str, Any]:
    """A message as kombu's virtual transports have it."""
    queue, headers = TOPOLOGY.queue(queue_name), headers_of(message)
    is_ours = "task" in headers and "id" in headers
    return {
        "body": message["Body"],
        "content-type": "application/json" if is_ours else None,
        "content-encoding": "utf-8",
        "headers": headers,
        "properties": {
            **({} if is_ours else beside(message)),
            "delivery_tag": tag,
            "delivery_info": {
                "exchange": queue.exchange,
                "routing_key": queue_name,
                "redelivered": receives_of(message) > 1,
                "source": "sqs",
                "key": key_of(message),
            },
        },
    }


def dead_entry(message: Mapping[str, Any], queue: str) -> dict[str, Any]:
    """A rejected message on its way to its dead-letter queue, with what SQS itself would not tell of it."""
    death = {
        "queue": queue,
        "reason": "rejected",
        "count": receives_of(message),
        "time": time.time(),
        "message": message["MessageId"],
    }
    kept = dict(message.get("MessageAttributes") or {})
    kept.pop(DEATH, None)
    while len(kept) >= MOST_ATTRIBUTES:  # the last ones, which are in the worker's log
        kept.popitem()
    return {"MessageBody": message["Body"], "MessageAttributes": {**kept, **_as_attributes({DEATH: json.dumps(death)})}}


def dead_message(message: Mapping[str, Any], queue_name: str) -> DeadMessage:
    """What lies in the dead-letter queue of ``queue_name``, sent there by a worker, or by SQS after many receives."""
    queue, headers = TOPOLOGY.queue(queue_name), headers_of(message)
    death = _death(headers.pop(DEATH, ""))
    if death is None:
        system = message.get("Attributes") or {}
        death = {"reason": "delivery_limit", "count": receives_of(message), "time": system.get("SentTimestamp")}
    return DeadMessage(
        dead_queue=queue.dead_name,
        queue=queue_name,
        body=message["Body"].encode("utf-8", "surrogatepass"),
        exchange=queue.exchange,
        routing_key=queue.routing_key,
        content_type="application/json" if "task" in headers else None,
        headers=headers,
        properties={"message_id": str(death.pop("message", message["MessageId"])), **beside(message)},
        deaths=[{**death, "queue": queue_name}],
    )


def again_entry(dead: DeadMessage) -> dict[str, Any]:
    """A dead message once more."""
    return {
        "MessageBody": dead.body.decode("utf-8", "surrogatepass"),
        "MessageAttributes": _as_attributes(dead.headers),
    }


def _death(text: str) -> dict[str, Any] | None:
    """None where a worker did not write it: anybody can send an attribute of that name."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"reason", "count", "time"} <= found.keys() else None


def _as_attributes(said: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are empty can not be sent."""
    return {name: {"DataType": "String", "StringValue": str(value)} for name, value in said.items() if str(value)}
