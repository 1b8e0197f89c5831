"""Subscribers that hear nothing of what happens."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from tasks.doctor.check import Check, Finding
from tasks.job_events.feed import lag

LONG = timedelta(minutes=1)


def late() -> Iterator[Finding]:
    for name in settings.TASKS_JOB_EVENTS:
        events, since = lag(name)
        if since is not None and timezone.now() - since > LONG:
            yield Finding(
                f"{events:,} job events have not been told to {name}, the oldest since {since:%Y-%m-%d %H:%M} UTC",
                "The workers tell them: see their logs. A bound queue that is full and refuses holds up all.",
            )


CHECKS = (Check("job-events", "subscribers hear of what happens", late, needs=("database", "migrations")),)
