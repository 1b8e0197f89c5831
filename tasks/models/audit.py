"""Who did what: appended, never changed, each entry bound to the one before it."""

from typing import Any, NoReturn

from django.db import models

from tasks.errors import AppendOnly


class _Appended(models.QuerySet):
    def update(self, **_: Any) -> NoReturn:
        raise AppendOnly

    def delete(self) -> NoReturn:
        raise AppendOnly


class AuditEntry(models.Model):
    """One act of a person. ``digest`` covers this row and the digest before it (audit.py).

    On PostgreSQL a trigger refuses what would change or delete a row, whoever asks.
    """

    id = models.BigIntegerField(primary_key=True, help_text="Its number, from 1 and without a gap.")
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

    objects = _Appended.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        default_permissions = ("view",)
        indexes = [models.Index(fields=["at"], name="audit_at")]

    def __str__(self) -> str:
        return f"{self.actor}: {self.verb}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly
        super().save(*args, **kwargs | {"force_insert": True})  # a new one with the number of another is none

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        raise AppendOnly
