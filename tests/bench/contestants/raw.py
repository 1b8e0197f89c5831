"""The limit: what a client library alone reaches, without a framework's errors, retries and time limits.

``python -m tests.bench.contestants.raw`` consumes: py-amqp with acknowledgements in groups. Variant ``rows``: each
group is claimed with one statement and recorded with another before its acknowledgement.
"""

import json
import os
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit

import amqp
import psycopg

from tests.bench import work
from tests.bench.contestants import VARIANT

QUEUE = "bench"
GROUP = 500
IDLE_SECONDS = 0.005
CLAIM = """UPDATE raw_job SET state = 'running', attempt = attempt + 1, started_at = now()
    WHERE id = ANY(%s::uuid[]) AND state = 'queued'"""
RECORD = "UPDATE raw_job SET state = 'succeeded', finished_at = now() WHERE id = ANY(%s::uuid[]) AND state = 'running'"


class Confirmed:
    """A channel that publishes without waiting, and the confirms that it is still owed."""

    def __init__(self) -> None:
        self._connection, self._channel = _channel()
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._confirm)
        self._sent = self._confirmed = 0

    def publish(self, job_id: str, body: str) -> None:
        message = amqp.Message(body, delivery_mode=2, correlation_id=job_id, content_type="application/json")
        self._channel.basic_publish(message, "", QUEUE)
        self._sent += 1
        self.wait(behind=2000)

    def wait(self, *, behind: int = 0) -> None:
        while self._sent - self._confirmed > behind:
            self._connection.drain_events(timeout=30)

    def _confirm(self, tag: int, multiple: bool) -> None:
        self._confirmed = max(self._confirmed, tag)  # confirms come in order but for single ones; the last one counts


def fill(count: int) -> None:
    channel, body = Confirmed(), json.dumps(work.PAYLOAD)
    ids = [str(uuid.uuid4()) for _ in range(count)]
    if "rows" in VARIANT:
        copying = "COPY raw_job (id, payload) FROM STDIN"
        with _database() as database, database.cursor() as cursor, cursor.copy(copying) as copy:
            for job_id in ids:
                copy.write_row((job_id, body))
    for job_id in ids:
        channel.publish(job_id, body)
    channel.wait()


def send(sent: float = 0.0) -> None:
    raise NotImplementedError("a raw client drains, and sends nothing alone")


def consume() -> None:
    connection, channel = _channel()
    channel.basic_qos(0, 2 * GROUP, False)
    waiting: list[amqp.Message] = []
    channel.basic_consume(QUEUE, callback=waiting.append)
    database = _database() if "rows" in VARIANT else None
    while True:
        try:
            connection.drain_events(timeout=IDLE_SECONDS if waiting else None)
        except TimeoutError:
            pass
        else:
            if len(waiting) < GROUP:
                continue
        _run_group(waiting, database)
        channel.basic_ack(waiting[-1].delivery_tag, multiple=True)
        waiting.clear()


def _run_group(messages: Sequence[amqp.Message], database: psycopg.Connection | None) -> None:
    ids = [message.properties["correlation_id"] for message in messages]
    if database:
        database.execute(CLAIM, (ids,), prepare=True)
    for message in messages:
        work.run(json.loads(message.body))
    if database:
        database.execute(RECORD, (ids,), prepare=True)


def _database() -> psycopg.Connection:
    return psycopg.connect(os.environ["DATABASE_URL"].replace("postgres:", "postgresql:", 1), autocommit=True)


def _channel() -> tuple[amqp.Connection, amqp.Channel]:
    url = urlsplit(os.environ["BROKER_URL"])
    connection = amqp.Connection(
        f"{url.hostname}:{url.port}", userid=url.username, password=url.password, virtual_host=url.path[1:]
    )
    connection.connect()
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True, auto_delete=False)
    return connection, channel


if __name__ == "__main__":
    consume()
