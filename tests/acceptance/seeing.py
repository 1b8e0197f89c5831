"""What acceptance tests look at."""

from pathlib import Path

from django_celery_results.models import TaskResult

from tasks.models import Job
from tests.waiting import wait_for


def ended(*jobs: Job, timeout_seconds: float = 60) -> list[str]:
    """The final states of ``jobs``, once all have one."""

    def all_ended() -> bool:
        return not Job.objects.filter(pk__in=[job.pk for job in jobs], finished_at=None).exists()

    wait_for(all_ended, f"{len(jobs)} jobs to end", timeout_seconds)
    for job in jobs:
        job.refresh_from_db()
    return [job.state for job in jobs]


def attempts(job: Job) -> list[str]:
    """How each attempt ended, in order."""
    records = TaskResult.objects.filter(task_id__startswith=f"{job.pk}.").values_list("task_id", "status")
    return [status for _, status in sorted(records, key=lambda record: int(record[0].rsplit(".", 1)[1]))]


def lines(path: Path) -> list[str]:
    """What the probe tasks wrote."""
    return path.read_text().splitlines() if path.exists() else []
