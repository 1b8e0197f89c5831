"""RabbitMQ's management API, by RABBITMQ_API_URL: what AMQP can neither say nor do. Optional."""

from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx
from django.conf import settings

TIMEOUT_SECONDS = 5


class Management:
    """The API at ``url``. Every method raises httpx.HTTPError: no answer, or a refusal."""

    def __init__(self, url: str):
        parts = urlsplit(url)
        auth = (unquote(parts.username or ""), unquote(parts.password or ""))
        base = f"{parts.scheme}://{parts.hostname}:{parts.port or 15672}{parts.path.rstrip('/')}"
        self._client = httpx.Client(base_url=base, auth=auth, timeout=TIMEOUT_SECONDS)

    def get(self, path: str) -> Any:
        """The JSON at ``path``, for example ``nodes`` or f"policies/{vhost()}"."""
        response = self._client.get(path)
        response.raise_for_status()
        return response.json()

    def put(self, path: str, body: dict[str, Any]) -> None:
        self._client.put(path, json=body).raise_for_status()


def configured() -> Management | None:
    """The API of RABBITMQ_API_URL; None where it is not set."""
    url = settings.TASKS_RABBITMQ_API_URL
    return Management(url) if url else None


def vhost() -> str:
    """That of BROKER_URL, as a path of the API has it."""
    return quote(urlsplit(settings.CELERY_BROKER_URL).path[1:] or "/", safe="")
