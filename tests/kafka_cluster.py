"""A Kafka cluster for tests: librdkafka's own mock of one, in a process of its own, or the real one that
KAFKA_BOOTSTRAP_SERVERS names. The mock speaks the protocol over TCP: groups, commits, idempotent producers.
"""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

_MOCK = """
import signal
from confluent_kafka import Producer
producer = Producer({"test.mock.num.brokers": 1, "log_level": 3})
brokers = producer.list_topics(timeout=10).brokers.values()
print(",".join(f"{broker.host}:{broker.port}" for broker in brokers), flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
"""


@contextmanager
def kafka_cluster() -> Iterator[str]:
    """Its bootstrap servers. A mock is new each time: a member that was killed would keep the next test waiting."""
    if real := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield real
        return
    process = subprocess.Popen([sys.executable, "-c", _MOCK], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def new_name(stem: str) -> str:
    """Of a topic or a group that nobody has used: a real cluster outlives the test."""
    return f"{stem}-{uuid.uuid4().hex[:12]}"
