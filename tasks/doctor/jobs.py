"""Jobs that wait although nothing should keep them."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Count, DurationField, ExpressionWrapper, F, Min, Q
from django.db.models.functions import Now
from django.utils import timezone

from tasks import queues
from tasks.doctor.check import Check, Finding
from tasks.models import Job
from tasks.states import JobState

FORGOTTEN = timedelta(hours=24)


def waiting() -> Iterator[Finding]:
    """Twice the grace: the relay takes one to miss a message, and has then published it again. A queue whose jobs run,
    or have just ended, is only long, which /health/queue watches; one that is paused, or was a moment ago, waits."""
    long = 2 * timedelta(seconds=settings.TASKS_RELAY_GRACE_SECONDS)
    long_ago, standing = Now() - long, queues.standing(long)
    late = Job.objects.filter(state=JobState.QUEUED, queued_at__lt=long_ago)
    for line in _by_queue(late.exclude(queue__in=standing), "queued_at"):
        of_the_queue = Job.objects.filter(queue=line["queue"])
        moves = Q(state=JobState.RUNNING) | Q(started_at__gte=long_ago)
        if not of_the_queue.filter(moves).exists():
            yield Finding(
                f"{line['count']} jobs of {line['queue']} wait, the oldest for {_age(line)}, and none of it runs",
                "Give the queue workers; if it has idle ones, see their logs.",
            )


def forgotten_pauses() -> Iterator[Finding]:
    """A pause without an end that outlasts a day is more likely forgotten than meant, once jobs wait for it."""
    for row in queues.paused().values():
        waits = Job.objects.filter(state=JobState.QUEUED, queue=row.queue).exists()
        if row.until is None and waits and timezone.now() - row.since > FORGOTTEN:
            yield Finding(
                f"{row.queue} has been paused since {row.since:%Y-%m-%d %H:%M} UTC by {row.paused_by}, and jobs wait",
                f"`manage.py queues resume {row.queue}`; if it is meant to stand still, pause it anew with --until.",
            )


def overdue() -> Iterator[Finding]:
    grace = timedelta(seconds=settings.TASKS_RELAY_GRACE_SECONDS)
    late = Job.objects.filter(state__in=[JobState.SCHEDULED, JobState.RETRYING], due_at__lt=Now() - grace)
    for line in _by_queue(late, "due_at"):
        yield Finding(
            f"{line['count']} jobs of {line['queue']} are due and not queued, the oldest for {_age(line)}",
            "The relay runs in every worker: start one, or see the workers' logs for why theirs does not publish.",
        )


def _by_queue(jobs, moment: str):
    oldest = ExpressionWrapper(Now() - Min(F(moment)), output_field=DurationField())
    return jobs.order_by("queue").values("queue").annotate(count=Count("pk"), age=oldest)


def _age(line) -> str:
    return str(timedelta(seconds=int(line["age"].total_seconds())))


CHECKS = (
    Check(
        "forgotten-pauses",
        f"no queue with jobs has been paused for more than {FORGOTTEN / timedelta(hours=1):g} hours without an end",
        forgotten_pauses,
        needs=("database", "migrations"),
    ),
    Check("waiting-jobs", "no queue stands still", waiting, needs=("database", "migrations")),
    Check("overdue-jobs", "what is due is queued", overdue, needs=("database", "migrations")),
)
