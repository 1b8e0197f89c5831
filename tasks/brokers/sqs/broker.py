"""SQS as the platform asks for it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings

from tasks import aws
from tasks.brokers.base import Answers, DeadMessage, JobMessage, Reply, TopicMessage, TopologyMismatch
from tasks.brokers.sqs import messages
from tasks.brokers.sqs.queues import Queues
from tasks.doctor.check import Check, Finding
from tasks.errors import BrokerUnavailable
from tasks.topology import TOPOLOGY

AT_ONCE = 10
"""What SQS takes, or gives, in one call."""


class SQS:
    """brokers.base.Broker says what each method promises."""

    def __init__(self) -> None:
        self._made: tuple[Any, Queues] | None = None
        self._answers = Answers(set(), set())

    @property
    def _client(self) -> Any:
        return self._connected()[0]

    @property
    def _queues(self) -> Queues:
        return self._connected()[1]

    def _connected(self) -> tuple[Any, Queues]:
        if self._made is None:
            client = aws.client("sqs")
            self._made = client, Queues(client)
        return self._made

    def publish(self, given: Sequence[JobMessage]) -> set[str]:
        confirmed: set[str] = set()
        with self._reaching():
            for queue in dict.fromkeys(message.queue for message in given):
                of_queue = [message for message in given if message.queue == queue]
                for start in range(0, len(of_queue), AT_ONCE):
                    confirmed |= self._send(queue, of_queue[start : start + AT_ONCE])
        return confirmed

    def send(self, given: Sequence[JobMessage]) -> None:
        confirmed = self.publish(given)
        self._answers.confirmed.update(confirmed)
        self._answers.refused.update({message.id for message in given} - confirmed)

    def answers(self, timeout_seconds: float) -> Answers:
        answers, self._answers = self._answers, Answers(set(), set())
        return answers

    def publish_again(self, dead: DeadMessage) -> bool:
        queue = dead.queue or next((each.name for each in TOPOLOGY.queues if each.exchange == dead.exchange), "")
        with self._reaching():
            self._client.send_message(QueueUrl=self._queues.url(queue), **messages.again_entry(dead))
        return True

    def publish_to_topic(self, exchange: str, given: Sequence[TopicMessage]) -> None:
        raise BrokerUnavailable("SQS has no topics: JOB_EVENTS=sns:ARN is Amazon's")

    def reply(self, replies: Sequence[Reply]) -> set[str]:
        return set()  # nobody can ask for one (brokers.replies_to_queues)

    def depth(self, queue: str) -> int:
        with self._reaching():
            return int(self._queues.read(queue)["ApproximateNumberOfMessages"])

    def consume_dead(self, handle: Callable[[DeadMessage], None], *, keep_going: Callable[[], bool]) -> None:
        """One queue after the other: a call is paid for, and asks for as long as a second."""
        with self._reaching():
            while True:
                for queue in TOPOLOGY.queues:
                    if not keep_going():
                        return
                    self._consume_dead_of(queue.name, queue.dead_name, handle)

    def apply_topology(self) -> list[str]:
        with self._reaching():
            self._queues.forget()
            if mismatches := self._queues.make():
                raise TopologyMismatch(mismatches)
        return []

    def check_topology(self) -> list[str]:
        with self._reaching():
            self._queues.forget()
            return self._queues.drift()

    def checks(self) -> Sequence[Check]:
        return (
            Check("broker", "SQS answers", self._ask),
            Check("topology", "the queues are as declared", self._ask_for_drift, needs=("broker",)),
        )

    def close(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            made[0].close()

    def _send(self, queue: str, batch: Sequence[JobMessage]) -> set[str]:
        entries = [messages.job_entry(message, str(number)) for number, message in enumerate(batch)]
        answer = self._client.send_message_batch(QueueUrl=self._queues.url(queue), Entries=entries)
        return {batch[int(sent["Id"])].id for sent in answer.get("Successful", ())}

    def _consume_dead_of(self, queue: str, dead_queue: str, handle: Callable[[DeadMessage], None]) -> None:
        url = self._queues.url(dead_queue)
        answer = self._client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=AT_ONCE,
            WaitTimeSeconds=min(1, settings.TASKS_SQS_WAIT_SECONDS),
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        for message in answer.get("Messages", ()):
            handle(messages.dead_message(message, queue))
            self._client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def _ask(self) -> Iterator[Finding]:
        try:
            with self._reaching():
                self._client.list_queues(MaxResults=1)
        except BrokerUnavailable as error:
            yield Finding(
                str(error), "Is BROKER_URL right, and may this account use SQS? docs/sqs.md lists the rights."
            )

    def _ask_for_drift(self) -> Iterator[Finding]:
        for line in self.check_topology():
            yield Finding(line, "`manage.py topology apply`, or the template of `manage.py topology export`.")

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except aws.TROUBLE as error:
            raise BrokerUnavailable(f"SQS can not be asked: {error}") from error
