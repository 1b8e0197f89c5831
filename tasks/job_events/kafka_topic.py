"""Job events on a topic of Kafka, keyed by the job: those of one job are in one partition, in their order."""

from collections.abc import Sequence
from typing import Any

from tasks.errors import BrokerUnavailable
from tasks.ingress.kafka import client
from tasks.job_events.messages import JobEventMessage

FLUSH_SECONDS = 30.0


class KafkaSink:
    """A producer that is made at first use, and again after whatever broke it."""

    def __init__(self, topic: str):
        self.name = f"kafka:{topic}"
        self._topic = topic
        self._producer: Any = None

    def send(self, messages: Sequence[JobEventMessage]) -> None:
        if self._producer is None:
            self._producer = client.producer()
        failures: list[str] = []

        def note(error: Any, _: Any) -> None:
            if error:
                failures.append(str(error))

        try:
            for message in messages:
                self._produce(message, note)
            left = self._producer.flush(FLUSH_SECONDS)
        except client.kafka().KafkaException as error:
            left, failures = len(messages), [str(error)]
        if left or failures:
            # What it still holds would come after what is sent again, and out of order.
            self._producer.purge()
            self._producer = None
            why = f": {failures[0]}" if failures else ""
            raise BrokerUnavailable(f"{left or len(failures)} job events did not reach {self.name}{why}")

    def _produce(self, message: JobEventMessage, note: Any) -> None:
        value = message.model_dump_json().encode()
        headers = {"type": message.type, "task": message.task, "id": message.id}
        key = str(message.job_id)
        try:
            self._producer.produce(self._topic, key=key, value=value, headers=headers, on_delivery=note)
        except BufferError:  # its queue is full of what is on the way
            self._producer.flush(FLUSH_SECONDS)
            self._producer.produce(self._topic, key=key, value=value, headers=headers, on_delivery=note)
        self._producer.poll(0)
