"""How far the history has been told to those who subscribe to it."""

from django.db import models


class JobEventCursor(models.Model):
    """Where a sink of job events stands. tasks/job_events/feed.py says what the columns mean."""

    sink = models.CharField(max_length=300, primary_key=True)
    read_to = models.BigIntegerField()
    gaps = models.JSONField(default=list, help_text="Numbers up to there that may still appear, and of whom.")
    told_at = models.DateTimeField(null=True, blank=True, help_text="When it last took an event.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.sink} at {self.read_to}"
