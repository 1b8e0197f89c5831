"""The platform, through its door."""

import django

django.setup()

from tasks import publisher  # noqa: E402
from tasks.api import enqueue, enqueue_many  # noqa: E402
from tests.bench import work  # noqa: E402

TASK = "bench.nothing"
CALL = 1000


def send(sent: float = 0.0) -> None:
    enqueue(TASK, work.payload(sent))


def send_many(count: int) -> None:
    enqueue_many(TASK, [work.payload()] * count)


def settle() -> None:
    if not publisher.flush(120):
        raise TimeoutError("the broker has not confirmed everything")


def fill(count: int) -> None:
    for begin in range(0, count, CALL):
        send_many(min(CALL, count - begin))
