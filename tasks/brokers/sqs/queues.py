"""The topology as queues of SQS: their names, their attributes, and the making of them."""

import json
from typing import Any

from django.conf import settings

from tasks.aws import code_of
from tasks.brokers.base import QueueMissing
from tasks.topology import TOPOLOGY, Queue

RETENTION_SECONDS = 14 * 86_400
MAX_RECEIVES = 3
_MISSING = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


def name_of(queue: str) -> str:
    """What SQS calls it, which has no full stop in it: email-queue, and email-queue-dead."""
    return settings.TASKS_SQS_QUEUE_PREFIX + queue.replace(".", "-")


def dead_attributes() -> dict[str, str]:
    """Of a dead-letter queue, which keeps for as long as SQS can."""
    return {
        "MessageRetentionPeriod": str(RETENTION_SECONDS),
        "ReceiveMessageWaitTimeSeconds": str(settings.TASKS_SQS_WAIT_SECONDS),
    }


def attributes(dead_arn: str) -> dict[str, str]:
    """Of a work queue whose dead letters go to ``dead_arn``."""
    redrive = {"deadLetterTargetArn": dead_arn, "maxReceiveCount": MAX_RECEIVES}
    return {
        **dead_attributes(),
        "VisibilityTimeout": str(settings.TASKS_SQS_VISIBILITY_SECONDS),
        "RedrivePolicy": json.dumps(redrive),
    }


class Queues:
    """The queues of one account and region, by the names that the topology gives them."""

    def __init__(self, client: Any):
        self._client = client
        self._urls: dict[str, str] = {}

    def url(self, queue: str) -> str:
        """Raises QueueMissing, and what the client does when it can not be asked."""
        if queue not in self._urls:
            try:
                self._urls[queue] = self._client.get_queue_url(QueueName=name_of(queue))["QueueUrl"]
            except Exception as error:
                if code_of(error) in _MISSING:
                    raise QueueMissing(queue) from None
                raise
        return self._urls[queue]

    def forget(self) -> None:
        self._urls.clear()

    def read(self, queue: str) -> dict[str, str]:
        """All its attributes. Raises QueueMissing."""
        try:
            answer = self._client.get_queue_attributes(QueueUrl=self.url(queue), AttributeNames=["All"])
        except Exception as error:
            if code_of(error) in _MISSING:
                self._urls.pop(queue, None)
                raise QueueMissing(queue) from None
            raise
        found: dict[str, str] = answer["Attributes"]
        return found

    def make(self) -> list[str]:
        """Create what is missing. Returns how what was there differs."""
        return [line for queue in TOPOLOGY.queues for line in self._make(queue)]

    def drift(self) -> list[str]:
        return [line for queue in TOPOLOGY.queues for line in self._drift(queue)]

    def _make(self, queue: Queue) -> list[str]:
        lines = self._create(queue.dead_name, dead_attributes())
        return lines + self._create(queue.name, attributes(self.read(queue.dead_name)["QueueArn"]))

    def _create(self, name: str, wanted: dict[str, str]) -> list[str]:
        try:
            return _differences(name, wanted, self.read(name))
        except QueueMissing:
            self._client.create_queue(QueueName=name_of(name), Attributes=wanted)
            return []

    def _drift(self, queue: Queue) -> list[str]:
        lines, arn = [], ""
        try:
            dead = self.read(queue.dead_name)
            arn = dead["QueueArn"]
            lines += _differences(queue.dead_name, dead_attributes(), dead)
        except QueueMissing:
            lines.append(f"queue {name_of(queue.dead_name)} is missing")
        try:
            lines += _differences(queue.name, attributes(arn), self.read(queue.name))
        except QueueMissing:
            lines.append(f"queue {name_of(queue.name)} is missing")
        return lines


def _differences(queue: str, wanted: dict[str, str], found: dict[str, str]) -> list[str]:
    return [
        f"queue {name_of(queue)} differs: {name} is {found.get(name)}, declared {value}"
        for name, value in wanted.items()
        if _plain(found.get(name)) != _plain(value)
    ]


def _plain(value: str | None) -> Any:
    """Numbers and JSON however they are written."""
    try:
        found = json.loads(value or "null")
    except ValueError:
        return value
    return {name: str(part) for name, part in found.items()} if isinstance(found, dict) else str(found)
