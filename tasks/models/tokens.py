"""Who may ask over HTTP."""

import hashlib
import secrets
from datetime import datetime

from django.db import models
from django.utils import timezone


class ApiToken(models.Model):
    """A bearer token: shown once, kept as a hash."""

    PREFIX = "tp_"

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100, unique=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=12, editable=False, help_text="First characters, to tell tokens apart.")
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    rate_per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text="Requests a minute; empty: as API_RATE_PER_MINUTE says; 0: any number."
    )
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(
        null=True, blank=True, help_text="Its row stays: whoever had its name next would own its jobs."
    )

    class Meta:
        verbose_name = "API token"

    def __str__(self) -> str:
        return self.name

    @property
    def caller(self) -> str:
        """As jobs keep it in ``requested_by``."""
        return f"token:{self.name}"

    @classmethod
    def issue(
        cls, name: str, scopes: list[str], *, expires_at: datetime | None = None, rate_per_minute: int | None = None
    ) -> tuple["ApiToken", str]:
        """A new token and its text, which is nowhere else. The text has 256 random bits, so a plain hash suffices."""
        text = cls.PREFIX + secrets.token_urlsafe(32)
        token = cls.objects.create(
            name=name,
            digest=cls.digest_of(text),
            hint=text[:8],
            scopes=scopes,
            expires_at=expires_at,
            rate_per_minute=rate_per_minute,
        )
        return token, text

    @staticmethod
    def digest_of(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    def allows(self, scope: str, *, now: datetime | None = None) -> bool:
        """Whether the token is alive and carries ``scope``."""
        now = now or timezone.now()
        alive = self.revoked_at is None and (self.expires_at is None or self.expires_at > now)
        return alive and scope in self.scopes
