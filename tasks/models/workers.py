"""The processes that run jobs."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone


class WorkerProcess(models.Model):
    """One life of one worker's main process. Silent for too long, it is lost, and its running attempts with it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=255, help_text="Celery's node name, like fast@host.")
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    queues = models.JSONField(default=list)
    pool = models.CharField(
        max_length=40, blank=True, db_default="", help_text="Celery's kind of pool: prefork, threads, solo."
    )
    concurrency = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Most attempts it runs at once; 0: unknown."
    )
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now, help_text="Last sign of life, by the database's clock.")
    clock_at = models.DateTimeField(null=True, blank=True, help_text="Its host's clock at the last sign of life.")
    stopped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "worker"
        indexes = [models.Index(fields=["seen_at"], condition=Q(stopped_at=None), name="worker_alive")]

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"

    @property
    def clock_skew_seconds(self) -> float | None:
        """How far its host's clock is ahead of the database's; below 0 where it is behind, None before the first."""
        return None if self.clock_at is None else (self.clock_at - self.seen_at).total_seconds()


class Release(models.Model):
    """A build whose workers have run here. The order of those that are no versions is the one they were seen in."""

    name = models.CharField(primary_key=True, max_length=100)
    first_seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-first_seen_at"]

    def __str__(self) -> str:
        return self.name
