"""Reports that were made."""

from typing import Any

from django.db import models, transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.urls import reverse
from django.utils import timezone
from uuid_utils.compat import uuid7


class Report(models.Model):
    """One file made by one job. A job that runs again replaces the file and keeps the row, so links stay good."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    job_id = models.UUIDField("job", db_index=True, editable=False)
    requested_by = models.CharField(max_length=200, blank=True, help_text="Who asked for the job.")
    dataset = models.CharField("data set", max_length=100)
    format = models.CharField(max_length=10)
    since = models.DateField()
    until = models.DateField(help_text="The last day, included.")
    title = models.CharField(max_length=200)
    file = models.FileField(upload_to="reports/%Y/%m/", max_length=255)
    size_bytes = models.PositiveBigIntegerField("size")
    pages = models.PositiveIntegerField(null=True, blank=True, help_text="Empty for formats without pages.")
    rows = models.PositiveBigIntegerField()
    created_at = models.DateTimeField("created", default=timezone.now)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["requested_by", "id"], name="report_by_owner")]
        constraints = [models.UniqueConstraint(fields=["job_id", "format"], name="report_per_job_and_format")]

    def __str__(self) -> str:
        return f"{self.title}, {self.since} to {self.until} ({self.format.upper()})"

    @property
    def file_path(self) -> str:
        """Where staff download it."""
        return reverse("admin:reports_report_file", args=[self.pk])

    @property
    def address(self) -> str:
        """Where whoever asked for it downloads it, by the HTTP API."""
        return f"/api/v1/reports/{self.pk}/file"

    @property
    def download_name(self) -> str:
        return f"{self.dataset}_{self.since}_{self.until}.{self.format}"


@receiver(post_delete, sender=Report)
def delete_file(instance: Report, **kwargs: Any) -> None:
    """A deleted row takes its file along, once the deletion is certain."""
    transaction.on_commit(lambda: instance.file.delete(save=False))
