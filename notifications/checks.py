"""What `manage.py check`, and with it the doctor, asks of this app."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from notifications.channels.text import is_readable


@register
def providers(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """An address that Apprise can not read, named by its place: to quote it would tell its keys."""
    return [
        Error(
            f"address {place} of {variable} means nothing to Apprise",
            hint="Write it as the provider's page in Apprise's documentation does, without recipients. "
            "A comma within an address is written %2C.",
            id="notifications.E001",
        )
        for variable in ("SMS_URLS", "PUSH_URLS")
        for place, url in enumerate(getattr(settings, variable), start=1)
        if not is_readable(url)
    ]
