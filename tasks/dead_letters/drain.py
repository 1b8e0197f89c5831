"""How long waiting work takes, from how long its like took lately."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now
from django_celery_results.models import TaskResult

from tasks.models import WorkerProcess

LATEST = 100


def drain_seconds(work: Mapping[tuple[str, str], int], *, share: float = 1.0) -> float | None:
    """Seconds until the workers of now have run ``work``, jobs by task and queue, with nothing else to do. The latest
    attempts of a task say how long one takes. None where nobody can say: a task never ran, or no worker takes a queue.

    ``share`` is the part of all work that ``work`` is a sample of, more than 0 to 1.
    """
    seconds: dict[str, float] = {}
    takes = {task: _seconds_of(task) for task, _ in work}
    for (task, queue), jobs in work.items():
        each = takes[task]
        if each is None:
            return None
        seconds[queue] = seconds.get(queue, 0.0) + jobs * each / share
    slots = _slots()
    if any(queue not in slots for queue in seconds):
        return None
    return max((needed / slots[queue] for queue, needed in seconds.items()), default=0.0)


def _seconds_of(task: str) -> float | None:
    """An attempt's mean duration."""
    latest = TaskResult.objects.filter(task_name=task, date_started__isnull=False).order_by("-id")[:LATEST]
    took = [(done - started).total_seconds() for started, done in latest.values_list("date_started", "date_done")]
    return sum(took) / len(took) if took else None


def _slots() -> Counter[str]:
    """By queue, how many attempts the living workers run at once."""
    silence = timedelta(seconds=settings.TASKS_WORKER_STALE_SECONDS)
    slots: Counter[str] = Counter()
    alive = WorkerProcess.objects.filter(stopped_at=None, seen_at__gte=Now() - silence)
    for queues, concurrency in alive.values_list("queues", "concurrency"):
        slots.update(dict.fromkeys(queues, concurrency or 1))
    return slots
