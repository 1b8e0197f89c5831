"""From topics to jobs. A partition's offset moves once the rows of its records are committed, and what was wrong with
them is in the dead-letter topic: whatever is killed before is read again, and makes no second job.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.conf import settings
from django.db import connection

from tasks.errors import KeyInUse
from tasks.ingress.accepting import Accepted, accept
from tasks.ingress.kafka import client
from tasks.ingress.kafka.records import arrival_of, dead_record
from tasks.worker.recording import OUTAGE

logger = logging.getLogger(__name__)

AT_ONCE = 500
POLL_SECONDS = 0.5
PAUSE_SECONDS = 1.0
FLUSH_SECONDS = 30.0


class NotDelivered(Exception):
    """A dead record has not reached its topic."""


class Bridge:
    """One member of the group. Nothing is remembered between two turns but what the cluster has: so there is nothing
    that a rebalance could make wrong."""

    def __init__(self, consumer: Any, producer: Callable[[], Any], topics: Sequence[str]):
        self._consumer = consumer
        self._make_producer = producer
        self._producer: Any = None
        self._topics = list(topics)
        self.accepted = 0
        """Records that made jobs, or had made them before."""
        self.dead = 0

    def run(self, *, keep_going: Callable[[], bool]) -> None:
        """Until ``keep_going`` says no, which is asked at least once a second; then leave the group."""
        self._consumer.subscribe(
            self._topics, on_assign=_log("assigned"), on_revoke=_log("revoked"), on_lost=_log("lost")
        )
        try:
            while keep_going():
                self.turn()
        finally:
            self._consumer.close()

    def turn(self) -> None:
        """Read some, accept them, bury what was wrong, and only then move the offsets."""
        records = [record for record in self._consumer.consume(AT_ONCE, POLL_SECONDS) if self._is_record(record)]
        if not records:
            return
        try:
            told = accept([arrival_of(record) for record in records])
            self._bury(records, told)
        except (*OUTAGE, KeyInUse, NotDelivered) as error:
            connection.close()
            logger.warning("%d records wait: %s", len(records), str(error).strip())
            self._read_again(records)
            return
        self._commit(records)
        self.accepted += sum(each.problem is None for each in told)

    def _is_record(self, record: Any) -> bool:
        error = record.error()
        if error is None:
            return True
        if error.fatal():
            raise client.kafka().KafkaException(error)
        logger.warning("kafka: %s", error)
        return False

    def _bury(self, records: Sequence[Any], told: Sequence[Accepted]) -> None:
        """Raises NotDelivered unless each wrong record is in its dead-letter topic."""
        wrong = [(record, each.problem) for record, each in zip(records, told, strict=True) if each.problem]
        if not wrong:
            return
        if self._producer is None:
            self._producer = self._make_producer()
        failures: list[str] = []
        for record, problem in wrong:
            self._producer.produce(
                **dead_record(record, problem),
                on_delivery=lambda error, _: failures.append(str(error)) if error else None,
            )
        left = self._producer.flush(FLUSH_SECONDS)
        if left or failures:
            self._producer = None  # with what it still holds, which comes again
            raise NotDelivered(f"{left or len(failures)} dead records are not delivered: {', '.join(set(failures))}")
        self.dead += len(wrong)

    def _commit(self, records: Iterable[Any]) -> None:
        """Whose partition has gone to another member meanwhile is told so, and that member reads them again."""
        library = client.kafka()
        ends = {(record.topic(), record.partition()): record.offset() + 1 for record in records}
        offsets = [library.TopicPartition(topic, partition, offset) for (topic, partition), offset in ends.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except library.KafkaException as error:
            logger.warning("offsets not committed, so these records are read again: %s", error)

    def _read_again(self, records: Sequence[Any]) -> None:
        """Go back to the first of them, wait a moment, and stay a member of the group meanwhile."""
        library = client.kafka()
        firsts: dict[tuple[str, int], int] = {}
        for record in records:
            firsts.setdefault((record.topic(), record.partition()), record.offset())
        self._seek(library, firsts)
        assigned = self._consumer.assignment()
        self._consumer.pause(assigned)
        end = time.monotonic() + PAUSE_SECONDS
        while (left := end - time.monotonic()) > 0:
            record = self._consumer.poll(left)
            if record is not None and record.error() is None:  # of a partition that has just come to us
                self._seek(library, {(record.topic(), record.partition()): record.offset()})
        self._consumer.resume(self._consumer.assignment())

    def _seek(self, library: Any, places: dict[tuple[str, int], int]) -> None:
        ours = {(each.topic, each.partition) for each in self._consumer.assignment()}
        for (topic, partition), offset in places.items():
            if (topic, partition) in ours:  # else whoever has it begins at the committed offset
                self._consumer.seek(library.TopicPartition(topic, partition, offset))


def run(*, keep_going: Callable[[], bool]) -> Bridge:
    """Bridge the topics of the environment until ``keep_going`` says no. Raises NotConfigured or MissingRequirement."""
    bridge = Bridge(client.consumer(), client.producer, settings.TASKS_KAFKA_TOPICS)
    logger.info("bridging %s as a member of %s", ", ".join(settings.TASKS_KAFKA_TOPICS), settings.TASKS_KAFKA_GROUP)
    bridge.run(keep_going=keep_going)
    logger.info("left the group: %d records accepted, %d dead", bridge.accepted, bridge.dead)
    return bridge


def lag() -> dict[str, int]:
    """By "topic:partition", how many records the group has not read. Raises what the library does when the cluster can
    not be asked within ten seconds."""
    library, consumer = client.kafka(), client.consumer()
    try:
        found: dict[str, int] = {}
        for topic in settings.TASKS_KAFKA_TOPICS:
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            asked = [library.TopicPartition(topic, number) for number in partitions]
            for each in consumer.committed(asked, timeout=10) if asked else ():
                low, high = consumer.get_watermark_offsets(each, timeout=10)
                found[f"{topic}:{each.partition}"] = high - max(low, each.offset)
        return found
    finally:
        consumer.close()


def _log(what: str) -> Callable[[Any, Any], None]:
    def tell(_: Any, partitions: Iterable[Any]) -> None:
        logger.info(
            "partitions %s: %s", what, ", ".join(f"{each.topic}:{each.partition}" for each in partitions) or "none"
        )

    return tell
