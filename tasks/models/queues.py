"""What people have decided about queues."""

from django.db import models
from django.db.models.functions import Now


class PausedQueue(models.Model):
    """The latest pause of a queue. It lasts until ``until``, which the one who resumes the queue sets to that moment;
    so the row tells for how long the queue has been going again."""

    queue = models.CharField(primary_key=True, max_length=100)
    since = models.DateTimeField(db_default=Now())
    until = models.DateTimeField(null=True, blank=True, help_text="When it ends, or ended; empty: when resumed.")
    paused_by = models.CharField(max_length=200)
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["queue"]
        verbose_name = "queue"
        default_permissions = ()
        permissions = [("view_queue", "Can view queues"), ("pause_queue", "Can pause queues and resume them")]

    def __str__(self) -> str:
        return self.queue
