"""The sinks that JOB_EVENTS names."""

from collections.abc import Sequence

from django.conf import settings

from tasks import brokers
from tasks.brokers import TopicMessage
from tasks.job_events.feed import Sink
from tasks.job_events.messages import JobEventMessage
from tasks.topology import JOB_EVENTS_EXCHANGE

EXCHANGE = "exchange"


def configured() -> list[Sink]:
    """A sink for each part of JOB_EVENTS, every one with connections of its own; for one thread."""
    return [_sink(name) for name in settings.TASKS_JOB_EVENTS]


def _sink(name: str) -> Sink:
    kind, _, where = name.partition(":")
    if kind == "kafka":
        from tasks.job_events.kafka_topic import KafkaSink

        return KafkaSink(where)
    if kind == "sns":
        from tasks.job_events.sns_topic import SnsSink

        return SnsSink(where)
    return ExchangeSink()


class ExchangeSink:
    """The topic exchange of the broker: every queue that is bound gets a copy. An event that nobody has bound a queue
    for is told to nobody, and that is no failure."""

    name = EXCHANGE

    def __init__(self) -> None:
        self._broker = brokers.connect()

    def send(self, messages: Sequence[JobEventMessage]) -> None:
        self._broker.publish_to_topic(
            JOB_EVENTS_EXCHANGE,
            [TopicMessage(each.id, each.routing_key, each.model_dump_json().encode()) for each in messages],
        )
