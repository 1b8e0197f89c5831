"""Huey on Redis, with its results."""

import os

from huey import RedisHuey

from tests.bench import work

huey = RedisHuey("bench", url=os.environ["REDIS_URL"], blocking=True)


@huey.task()
def nothing(payload: dict) -> bool:
    work.run(payload)
    return True  # None would not be stored


def send(sent: float = 0.0) -> None:
    nothing(work.payload(sent))
