"""Taskiq over RabbitMQ, which confirms each message."""

import asyncio
import os

from taskiq_aio_pika import AioPikaBroker, Exchange, Queue, QueueType

from tests.bench import work

TOGETHER = 200

broker = AioPikaBroker(
    os.environ["BROKER_URL"],
    qos=64,
    exchange=Exchange(name="bench"),
    task_queues=[Queue(name="bench", type=QueueType.CLASSIC)],
    dead_letter_queue=Queue(name="bench.dead", type=QueueType.CLASSIC),
)
_runner: asyncio.Runner | None = None


@broker.task(task_name="bench.nothing")
async def nothing(payload: dict) -> None:
    work.run(payload)


def send(sent: float = 0.0) -> None:
    _client().run(nothing.kiq(work.payload(sent)))


def send_many(count: int) -> None:
    async def gather() -> None:
        for begin in range(0, count, TOGETHER):
            calls = [nothing.kiq(work.PAYLOAD) for _ in range(min(TOGETHER, count - begin))]
            await asyncio.gather(*calls)

    _client().run(gather())


fill = send_many


def close() -> None:
    _client().run(broker.shutdown())


def _client() -> asyncio.Runner:
    global _runner
    if _runner is None:
        _runner = asyncio.Runner()
        _runner.run(broker.startup())
    return _runner
