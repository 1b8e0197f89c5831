"""What we count."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from django.db.models import Avg, Count, DurationField, ExpressionWrapper, F, Q
from django.db.models.functions import TruncDate

from tasks.models import Job
from tasks.states import FINAL, JobState


class JobActivity(NamedTuple):
    """The jobs of one task created on one day, by how they stand now."""

    day: date
    task: str
    succeeded: int
    dead: int
    cancelled: int
    unfinished: int
    average_run_seconds: float | None
    """Mean length of the attempts that succeeded; None when none did."""


def job_activity(since: date, until: date) -> Iterator[JobActivity]:
    """Jobs by day and task, in this order, from ``since`` to ``until``: days in UTC, both included. Days and tasks
    without jobs are left out. The database counts; PostgreSQL and SQLite have no median in common, so it is the mean.
    """
    begin = datetime.combine(since, time.min, UTC)
    end = datetime.combine(until, time.min, UTC) + timedelta(days=1)
    was_success = Q(state=JobState.SUCCEEDED)
    run = ExpressionWrapper(F("finished_at") - F("started_at"), output_field=DurationField())
    lines = (
        Job.objects.filter(created_at__gte=begin, created_at__lt=end)
        .annotate(day=TruncDate("created_at", tzinfo=UTC))
        .values("day", "task")
        .annotate(
            succeeded=Count("pk", filter=was_success),
            dead=Count("pk", filter=Q(state=JobState.DEAD)),
            cancelled=Count("pk", filter=Q(state=JobState.CANCELLED)),
            unfinished=Count("pk", filter=~Q(state__in=FINAL)),
            average_run=Avg(run, filter=was_success),
        )
        .order_by("day", "task")
    )
    for line in lines.iterator():
        average = line["average_run"]
        yield JobActivity(
            day=line["day"],
            task=line["task"],
            succeeded=line["succeeded"],
            dead=line["dead"],
            cancelled=line["cancelled"],
            unfinished=line["unfinished"],
            average_run_seconds=None if average is None else average.total_seconds(),
        )
