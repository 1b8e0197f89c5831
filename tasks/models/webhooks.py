"""Who wants to hear of outcomes, what was sent to them, and how far the history has been read for them."""

from urllib.parse import urlsplit

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from tasks.models.jobs import Job


class WebhookEndpoint(models.Model):
    """An address that is told of outcomes. Secrets are not kept: each is derived from what stands here (signing.py)."""

    class Event(models.TextChoices):
        JOB_SUCCEEDED = "job.succeeded", "A job succeeded"
        JOB_DEAD = "job.dead", "A job died"
        JOB_CANCELLED = "job.cancelled", "A job was cancelled"
        BATCH_FINISHED = "batch.finished", "All jobs of a batch have ended"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    url = models.CharField(max_length=2000)
    description = models.CharField(max_length=200, blank=True, help_text="For people.")
    events = models.JSONField(default=list, help_text="Which it hears of.")
    tasks = models.JSONField(default=list, blank=True, help_text="Only jobs of these tasks; empty: of all.")
    owner = models.CharField(
        max_length=200, blank=True, help_text="Only of what they requested; empty: of everybody's jobs."
    )
    secrets = models.JSONField(default=list, editable=False, help_text="What its secrets derive from, newest first.")
    after_event = models.BigIntegerField(default=0, editable=False, help_text="It hears of later events only.")
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_why = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-id"]
        permissions = [("hear_all_webhookendpoint", "Can have webhooks of everybody's jobs")]
        indexes = [models.Index(fields=["owner"], name="webhook_owner")]

    def __str__(self) -> str:
        return self.description or urlsplit(self.url).netloc


class WebhookDelivery(models.Model):
    """One message to one endpoint; the job that delivers it knows all the rest. What was told stays told: ``key`` names
    the event, and stands once an endpoint."""

    id = models.BigAutoField(primary_key=True)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    # Not checked by the database: in a rolling deploy the old build prunes jobs and knows nothing of this row.
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="webhook_deliveries", db_constraint=False)
    type = models.CharField(max_length=40)
    key = models.CharField(max_length=100)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "webhook deliveries"
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["key", "endpoint"], name="webhook_delivered_once")]
        indexes = [models.Index(fields=["endpoint", "-id"], name="webhook_delivery_endpoint")]

    def __str__(self) -> str:
        return self.type


class WebhookCursor(models.Model):
    """How far the job events have been read: a single row. See outbox.py for what the numbers mean."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    read_to = models.BigIntegerField(default=0)
    settled_to = models.BigIntegerField(default=0)
    mark = models.BigIntegerField(default=0)
    writers = models.JSONField(default=list, help_text="Transactions that may still add an event up to the mark.")

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=Q(id=1), name="webhook_cursor_is_one")]

    def __str__(self) -> str:
        return f"read to {self.read_to}"
