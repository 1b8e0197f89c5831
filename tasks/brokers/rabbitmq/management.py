"""RabbitMQ's management API, by RABBITMQ_API_URL: what AMQP can neither say nor do. Optional."""

from contextlib import suppress
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx
from django.conf import settings

from tasks.brokers.rabbitmq.nodes import nodes

TIMEOUT_SECONDS = 5


class Management:
    """The API at ``url``; of several nodes the first that answers. Methods raise httpx.HTTPError when none does, or
    what answers is no such API."""

    def __init__(self, url: str):
        self._nodes = nodes(url)

    def get(self, path: str) -> Any:
        """The JSON at ``path``, for example ``nodes`` or f"policies/{vhost()}"."""
        answer = self._ask("GET", path)
        try:
            return answer.json()
        except ValueError:  # say the page of a proxy
            raise httpx.HTTPError("RABBITMQ_API_URL leads to something that answers no JSON") from None

    def put(self, path: str, body: dict[str, Any]) -> None:
        self._ask("PUT", path, json=body)

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        *others, last = self._nodes
        for node in others:
            with suppress(httpx.HTTPError):
                return _request(node, method, path, **content)
        return _request(last, method, path, **content)


def _request(node: str, method: str, path: str, **content: Any) -> httpx.Response:
    try:
        parts = urlsplit(node)
        url = f"{parts.scheme}://{parts.hostname}:{parts.port or 15672}{parts.path.rstrip('/')}/{path}"
        login = (unquote(parts.username or ""), unquote(parts.password or ""))
        return httpx.request(method, url, auth=login, timeout=TIMEOUT_SECONDS, **content).raise_for_status()
    except (httpx.InvalidURL, ValueError):
        raise httpx.HTTPError("RABBITMQ_API_URL can not be read as a URL") from None


def configured() -> Management | None:
    """The API of RABBITMQ_API_URL; None where it is not set."""
    url = settings.TASKS_RABBITMQ_API_URL
    return Management(url) if url else None


def vhost() -> str:
    """That of BROKER_URL, as a path of the API has it."""
    first = nodes(settings.CELERY_BROKER_URL)[0]  # the nodes of a cluster have the same
    return quote(unquote(urlsplit(first).path[1:]) or "/", safe="")
