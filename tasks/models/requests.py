"""Who waits for the outcome of a job."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from tasks.models.jobs import Job


class Request(models.Model):
    """Somebody waits for what comes of a job: at a queue of theirs, or in a call. The job knows all the rest."""

    id = models.BigAutoField(primary_key=True)
    # Not checked by the database: in a rolling deploy the old build prunes jobs and knows nothing of this row.
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="requests", db_constraint=False)
    reply_to = models.CharField(
        max_length=255, blank=True, help_text="The queue that the reply is sent to; empty: a call waits for it."
    )
    correlation_id = models.CharField(max_length=200, blank=True)
    requested_by = models.CharField(max_length=200, blank=True)
    asked_at = models.DateTimeField(db_default=Now())
    deadline_at = models.DateTimeField(
        null=True, blank=True, help_text="How long the caller waits, where that is known."
    )
    answered_at = models.DateTimeField(null=True, blank=True, help_text="When the outcome reached whoever waited.")
    timed_out_at = models.DateTimeField(null=True, blank=True, help_text="When the caller gave up.")
    trouble = models.CharField(max_length=200, blank=True, help_text="Why the reply could not be delivered.")
    fetched_at = models.DateTimeField(null=True, blank=True, help_text="When a late reply was fetched.")

    class Meta:
        ordering = ["-id"]
        default_permissions = ("view",)
        constraints = [
            # A message that is delivered twice asks once.
            models.UniqueConstraint(
                fields=["job", "reply_to", "correlation_id"], condition=~Q(reply_to=""), name="request_asked_once"
            )
        ]
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(answered_at=None, timed_out_at=None, trouble="") & ~Q(reply_to=""),
                name="request_owed",
            ),
            models.Index(fields=["asked_at"], condition=Q(answered_at=None, fetched_at=None), name="request_open"),
            models.Index(fields=["answered_at"], condition=Q(answered_at__isnull=False), name="request_answered"),
            models.Index(fields=["correlation_id", "requested_by", "-id"], name="request_correlation"),
        ]

    def __str__(self) -> str:
        return self.correlation_id or f"request {self.pk}"
