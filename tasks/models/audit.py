"""Who did what: appended, never changed, each entry bound to the one before it."""

from django.db import models


class AuditEntry(models.Model):
    """One act of a person. ``digest`` covers this row and the digest before it (audit.py)."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    verb = models.CharField(max_length=50, help_text="Like dead_letters.discard.")
    subject = models.CharField(max_length=200, help_text="To what: an id, a filter, a queue.")
    count = models.PositiveIntegerField(default=1)
    reason = models.CharField(max_length=500, blank=True)
    detail = models.JSONField(default=dict, blank=True)
    previous = models.CharField(
        max_length=64, blank=True, help_text="The digest of the entry before; empty: the first."
    )
    digest = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.actor}: {self.verb}"
