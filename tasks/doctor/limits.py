"""How long a message may stay unacknowledged, against how long the broker lets it.

Past the broker's timeout RabbitMQ closes the channel: all that the worker holds is delivered again, and runs as
duplicates or counts as deliveries.
"""

from collections.abc import Iterable, Iterator

from celery import current_app
from django.conf import settings

from tasks.doctor.check import Check, Finding
from tasks.registry import TaskSpec, registry
from tasks.topology import PRIORITY_QUEUE

# The pool ends a task a moment after its limit, and its outcome is recorded after that; RabbitMQ looks once a minute.
MARGIN_SECONDS = 60


def longest_task(queues: Iterable[str]) -> TaskSpec | None:
    """The task with the longest limit that may arrive in one of ``queues``; a job with priority comes by another queue
    than its task's."""
    wanted = set(queues)
    specs = [spec for spec in registry if spec.queue.name in wanted or PRIORITY_QUEUE in wanted]
    return max(specs, key=lambda spec: spec.time_limit_seconds, default=None)


def ack_timeout() -> Iterator[Finding]:
    """By what the deployment declares: no API of RabbitMQ tells a node's consumer_timeout."""
    longest = longest_task([PRIORITY_QUEUE])
    timeout = settings.TASKS_BROKER_ACK_TIMEOUT_SECONDS
    if longest and longest.time_limit_seconds + MARGIN_SECONDS > timeout:
        needed = longest.time_limit_seconds + MARGIN_SECONDS
        yield Finding(
            f"{longest.name} may run for {longest.time_limit_seconds:g} s, and the broker takes back what is not "
            f"acknowledged within {timeout} s (BROKER_ACK_TIMEOUT_SECONDS)",
            f"Set consumer_timeout = {needed * 1000:.0f} or more in rabbitmq.conf, and BROKER_ACK_TIMEOUT_SECONDS to "
            "the same in seconds; or shorten the task's time limit.",
        )


def prefetch() -> Iterator[Finding]:
    multiplier = current_app.conf.worker_prefetch_multiplier
    longest = longest_task([PRIORITY_QUEUE])
    if multiplier != 1 and longest:
        held = "every message there is" if multiplier == 0 else f"{multiplier} messages for each of its processes"
        yield Finding(
            f"worker_prefetch_multiplier is {multiplier}: a worker holds {held}, and a job waits up to "
            f"{longest.time_limit_seconds:g} s behind {longest.name} while other workers idle",
            "Set it to 1, as project/settings.py does.",
        )


CHECKS = (
    Check("ack-timeout", "the declared timeout outlasts every task", ack_timeout),
    Check("prefetch", "a worker holds one message for each of its processes and queues", prefetch),
)
