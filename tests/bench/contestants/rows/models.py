"""What such a row usually has."""

import uuid

from django.db import models


class Job(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    kind = models.CharField(max_length=100)
    tenant = models.CharField(max_length=50)
    state = models.CharField(max_length=20, default="queued")
    payload = models.JSONField()
    result = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    attempts = models.IntegerField(default=0)

    class Meta:
        app_label = "rows"
        indexes = [models.Index(fields=["tenant", "created_at"], name="rows_tenant_created")]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"
