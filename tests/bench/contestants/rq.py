"""RQ."""

import os

import redis
import rq

from tests.bench import work
from tests.bench.work import run

queue = rq.Queue("bench", connection=redis.Redis.from_url(os.environ["REDIS_URL"]))


def send(sent: float = 0.0) -> None:
    queue.enqueue(run, work.payload(sent))


def send_many(count: int) -> None:
    queue.enqueue_many([rq.Queue.prepare_data(run, (work.PAYLOAD,)) for _ in range(count)])


fill = send_many
