"""The states of a job and the legal changes between them, as data."""

from django.db import models


class JobState(models.TextChoices):
    """Where a job is in its life. Final: succeeded, dead, cancelled."""

    SCHEDULED = "scheduled", "Scheduled"
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    RETRYING = "retrying", "Retrying"
    SUCCEEDED = "succeeded", "Succeeded"
    DEAD = "dead", "Dead"
    CANCELLED = "cancelled", "Cancelled"

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = frozenset({JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED})

LEGAL_CHANGES: dict[JobState, frozenset[JobState]] = {
    JobState.SCHEDULED: frozenset({JobState.QUEUED, JobState.DEAD, JobState.CANCELLED}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.DEAD, JobState.CANCELLED}),
    # back to queued: the worker was stopped before the attempt began, so nothing was spent
    JobState.RUNNING: frozenset(
        {JobState.SUCCEEDED, JobState.RETRYING, JobState.DEAD, JobState.CANCELLED, JobState.QUEUED}
    ),
    JobState.RETRYING: frozenset({JobState.QUEUED, JobState.DEAD, JobState.CANCELLED}),
    JobState.DEAD: frozenset({JobState.QUEUED}),
    JobState.SUCCEEDED: frozenset(),
    # only while it is parked: a purge took it from its queue, and it is put back as it was
    JobState.CANCELLED: frozenset({JobState.SCHEDULED, JobState.QUEUED, JobState.RETRYING}),
}


class Priority(models.TextChoices):
    """High jobs wait in a queue of their own."""

    NORMAL = "normal", "Normal"
    HIGH = "high", "High"


FIRST_HIGH = 5
"""Of priorities that are numbers, the lowest that is high; AMQP has 0 to 255, and most people use 0 to 9."""


def as_priority(value: object) -> object:
    """What a foreign producer's number means; anything else, right or wrong, as it is."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255:
        return Priority.HIGH if value >= FIRST_HIGH else Priority.NORMAL
    return value
