"""Envelopes per second through each ingress, and how long a reply takes: ``python -m tests.bench.ingress [amqp …]``.

Against the servers of the environment (BROKER_URL, DATABASE_URL: ``make up`` in another terminal, or ``python3 -m
compose.private servers``). Rounds are interleaved and medians told; nothing but a few thousand jobs is left behind.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import amqp
import django
from kombu import Connection

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 3
MESSAGES = 5000
REQUESTS = 100


@contextmanager
def worker() -> Iterator[None]:
    """A worker of two processes, ready."""
    command = [sys.executable, "-m", "celery", "-A", "project", "worker", "-c", "2", "-n", f"bench{os.getpid()}@%h"]
    with Path(os.devnull).open("wb") as nowhere:
        process = subprocess.Popen(command, cwd=ROOT, stdout=nowhere, stderr=nowhere)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def over_amqp() -> float:
    """Seconds from the first message to the last job's row, with one worker that has other things to do as well."""
    mark = uuid.uuid4().hex
    body = json.dumps({"type": "probe.echo", "data": {}})
    with Connection(os.environ["BROKER_URL"]) as connection:
        channel = connection.channel()
        channel.confirm_select()
        began = time.monotonic()
        for number in range(MESSAGES):
            channel.basic_publish(
                amqp.Message(body, message_id=f"{mark}-{number}", delivery_mode=2), "work-exchange", "work"
            )
    _wait_for_jobs(mark)
    return time.monotonic() - began


def replies() -> list[float]:
    """Seconds from each request to its reply, asked one after the other by direct reply-to."""
    took: list[float] = []
    with Connection(os.environ["BROKER_URL"]) as connection:
        channel = connection.channel()
        channel.basic_consume(
            "amq.rabbitmq.reply-to", no_ack=True, callback=lambda _: took.append(time.monotonic() - asked)
        )
        for _ in range(REQUESTS):
            body = json.dumps({"type": "probe.echo", "data": {}})
            asked = time.monotonic()
            message = amqp.Message(body, reply_to="amq.rabbitmq.reply-to", delivery_mode=2)
            channel.basic_publish(message, "request-exchange", "request")
            count = len(took)
            while len(took) == count:
                connection.drain_events(timeout=30)
    return took


def _wait_for_jobs(mark: str) -> None:
    from tasks.models import Job

    made = Job.objects.filter(idempotency_key__startswith=mark)
    while made.count() < MESSAGES:
        time.sleep(0.05)


def _in_milliseconds(values: list[float], percent: int) -> str:
    return f"{sorted(values)[len(values) * percent // 100] * 1000:.0f} ms"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    ways: dict[str, Callable[[], float]] = {"AMQP": over_amqp}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    took: list[float] = []
    from tasks import brokers

    brokers.connect().apply_topology()
    with worker():
        replies()  # it is ready then
        for _ in range(ROUNDS):
            for name, run in ways.items():
                rates[name].append(MESSAGES / run())
            took += replies()
    for name, found in rates.items():
        sys.stdout.write(
            f"{name}: {median(found):,.0f} envelopes/s; rounds: {', '.join(f'{rate:,.0f}' for rate in found)}\n"
        )
    told = ", ".join(f"p{percent} {_in_milliseconds(took, percent)}" for percent in (50, 95, 99))
    sys.stdout.write(f"reply: {told}\n")


if __name__ == "__main__":
    main()
