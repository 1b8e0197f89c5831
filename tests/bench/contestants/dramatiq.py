"""Dramatiq. Variants: ``results`` keeps results in Redis, ``rows`` keeps a row a task with django_dramatiq."""

import os

import dramatiq

from tests.bench import work
from tests.bench.contestants import VARIANT

if "rows" in VARIANT:
    import django

    django.setup()  # which makes the broker, with the middleware of settings.py
    broker = dramatiq.get_broker()
else:
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    broker = RabbitmqBroker(url=os.environ["BROKER_URL"])
    if "results" in VARIANT:
        from dramatiq.results import Results
        from dramatiq.results.backends import RedisBackend

        broker.add_middleware(Results(backend=RedisBackend(url=os.environ["REDIS_URL"])))
    dramatiq.set_broker(broker)

OPTIONS = {"store_results": True} if "results" in VARIANT else {}


@dramatiq.actor(queue_name="bench", **OPTIONS)
def nothing(payload: dict) -> None:
    work.run(payload)


def send(sent: float = 0.0) -> None:
    nothing.send(work.payload(sent))


def close() -> None:
    broker.close()
