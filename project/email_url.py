"""EMAIL_URL -> Django's EMAIL_ settings."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TIMEOUT_SECONDS = 30
_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}


def email_settings(url: str, *, outbox: Path) -> dict[str, Any]:
    """smtp:// in the clear, smtp+tls:// by STARTTLS, smtps:// by TLS from the start; file:// writes to ``outbox``.

    ``url`` has one of the schemes that env.py lets pass.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        backend = {"file": "filebased", "console": "console", "memory": "locmem"}[parts.scheme]
        return {"EMAIL_BACKEND": f"django.core.mail.backends.{backend}.EmailBackend", "EMAIL_FILE_PATH": str(outbox)}
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname or "localhost",
        "EMAIL_PORT": parts.port or _PORTS[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": parts.scheme == "smtp+tls",
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_TIMEOUT": TIMEOUT_SECONDS,
    }
