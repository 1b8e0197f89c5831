"""The platform, through its door."""

import django

django.setup()

from tasks import publisher  # noqa: E402
from tasks.api import enqueue  # noqa: E402
from tests.bench import work  # noqa: E402

TASK = "bench.nothing"
CALL = 1000


def send(sent: float = 0.0) -> None:
    enqueue(TASK, work.payload(sent))


def send_many(count: int) -> None:
    from tasks.api import enqueue_many

    enqueue_many(TASK, [work.payload()] * count)


def settle() -> None:
    if not publisher.flush(120):
        raise TimeoutError("the broker has not confirmed everything")


def fill(count: int) -> None:
    """Rows and history in bulk, as ``enqueue`` would write them one by one."""
    from tasks.dispatch import publish_on_commit
    from tasks.models import Job, JobEvent
    from tasks.topology import WORK_QUEUE

    for begin in range(0, count, CALL):
        made = [Job(task=TASK, queue=WORK_QUEUE, payload=work.payload()) for _ in range(min(CALL, count - begin))]
        jobs = Job.objects.bulk_create(made)
        JobEvent.objects.bulk_create([JobEvent(job=job, kind="queued", at=job.created_at) for job in jobs])
        publish_on_commit(jobs)
        settle()
