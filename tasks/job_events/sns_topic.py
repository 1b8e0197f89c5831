"""Job events on a topic of Amazon SNS."""

from collections.abc import Sequence
from typing import Any

from tasks.aws import TROUBLE, client
from tasks.errors import BrokerUnavailable
from tasks.job_events.messages import JobEventMessage

AT_ONCE = 10
"""What SNS takes in one call."""


class SnsSink:
    """Ten at a time. On a FIFO topic the job is the group, so that the events of one are in order, and the event's id
    keeps a repeated one from being told twice within five minutes."""

    def __init__(self, arn: str):
        self.name = f"sns:{arn}"
        self._arn = arn
        self._client: Any = None

    def send(self, messages: Sequence[JobEventMessage]) -> None:
        try:
            if self._client is None:
                self._client = client("sns")
            for start in range(0, len(messages), AT_ONCE):
                self._send(messages[start : start + AT_ONCE])
        except TROUBLE as error:
            raise BrokerUnavailable(f"{self.name} can not be reached: {error}") from error

    def _send(self, messages: Sequence[JobEventMessage]) -> None:
        entries = [self._entry(message) for message in messages]
        answer = self._client.publish_batch(TopicArn=self._arn, PublishBatchRequestEntries=entries)
        if failed := answer.get("Failed"):
            raise BrokerUnavailable(f"{self.name} refused {len(failed)} job events: {failed[0].get('Message', '')}")

    def _entry(self, message: JobEventMessage) -> dict[str, Any]:
        attributes = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in (("type", message.type), ("task", message.task))
        }
        entry = {"Id": message.id, "Message": message.model_dump_json(), "MessageAttributes": attributes}
        if self._arn.endswith(".fifo"):
            entry |= {"MessageGroupId": str(message.job_id), "MessageDeduplicationId": message.id}
        return entry
