"""From queues of SQS that are not ours to jobs. A message is deleted once its rows are committed: whatever is killed
before comes again, and is known by its key."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from django.db import connection

from tasks import aws
from tasks.brokers.sqs.messages import beside, headers_of, key_of
from tasks.errors import BrokerUnavailable, KeyInUse
from tasks.ingress.accepting import accept
from tasks.ingress.envelope import Arrival
from tasks.worker.recording import OUTAGE

logger = logging.getLogger(__name__)

AT_ONCE = 10
PAUSE_SECONDS = 1.0


def arrival_of(message: dict[str, Any], place: str) -> Arrival:
    """A message as an arrival; what wraps it, where SNS brought it, is taken off by SNS (raw message delivery)."""
    return Arrival(
        body=message["Body"].encode("utf-8", "surrogatepass"),
        source="sqs",
        place=place,
        key=key_of(message),
        properties=beside(message),
        headers=headers_of(message),
    )


class Bridge:
    """Reads one queue."""

    def __init__(self, client: Any, queue: str):
        """``queue`` is its URL, or its name. Raises BrokerUnavailable where it can not be found."""
        self._client = client
        try:
            is_url = queue.startswith(("http://", "https://"))
            self._url = queue if is_url else client.get_queue_url(QueueName=queue)["QueueUrl"]
        except aws.TROUBLE as error:
            raise BrokerUnavailable(f"queue {queue!r}: {error}") from error
        self._place = self._url.rsplit("/", 1)[-1]
        self.accepted = 0
        """Messages that made jobs, or had made them before."""
        self.dead = 0

    def run(self, *, keep_going: Callable[[], bool]) -> None:
        """Until ``keep_going`` says no, which is asked after each long poll."""
        while keep_going():
            try:
                self.turn()
            except aws.TROUBLE as error:
                logger.warning("%s can not be read: %s", self._place, error)
                time.sleep(PAUSE_SECONDS)

    def turn(self) -> None:
        """Receive some, accept them, and only then delete them."""
        answer = self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=AT_ONCE,
            WaitTimeSeconds=settings.TASKS_SQS_WAIT_SECONDS,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        if not (messages := answer.get("Messages", [])):
            return
        try:
            told = accept([arrival_of(message, self._place) for message in messages])
        except (*OUTAGE, KeyInUse) as error:
            connection.close()
            logger.warning("%d messages wait: %s", len(messages), str(error).strip())
            self._release(messages)
            time.sleep(PAUSE_SECONDS)
            return
        self._delete(messages)
        self.accepted += sum(each.problem is None for each in told)
        self.dead += sum(each.problem is not None for each in told)

    def _delete(self, messages: Sequence[dict[str, Any]]) -> None:
        """What can not be deleted comes again, and makes no second job."""
        entries = [{"Id": str(number), "ReceiptHandle": each["ReceiptHandle"]} for number, each in enumerate(messages)]
        answer = self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        for failed in answer.get("Failed", ()):
            logger.warning("a message of %s could not be deleted: %s", self._place, failed.get("Message"))

    def _release(self, messages: Sequence[dict[str, Any]]) -> None:
        """For all to see again at once. It counts as a receive: a redrive policy should allow for outages."""
        entries = [
            {"Id": str(number), "ReceiptHandle": each["ReceiptHandle"], "VisibilityTimeout": 0}
            for number, each in enumerate(messages)
        ]
        self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)


def run(queue: str, *, keep_going: Callable[[], bool]) -> Bridge:
    """Bridge ``queue`` until ``keep_going`` says no. Raises BrokerUnavailable or MissingRequirement."""
    bridge = Bridge(aws.client("sqs"), queue)
    logger.info("bridging %s", queue)
    bridge.run(keep_going=keep_going)
    logger.info("%d messages accepted, %d dead", bridge.accepted, bridge.dead)
    return bridge
