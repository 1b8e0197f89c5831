"""The Idempotency-Key header."""

from typing import Any

from django.http import HttpRequest

from tasks.errors import InvalidJob

HEADER = "Idempotency-Key"


def documented(description: str, *, max_length: int = 200) -> dict[str, Any]:
    """For ``openapi_extra`` of an operation that takes the header."""
    schema = {"type": "string", "minLength": 1, "maxLength": max_length}
    return {"parameters": [{"name": HEADER, "in": "header", "description": description, "schema": schema}]}


def key_of(request: HttpRequest, *, max_length: int = 200) -> str | None:
    """Past ninja and ``request.headers``, which would copy every header for the sake of this one."""
    key: str | None = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is not None and not 0 < len(key) <= max_length:
        message = f"has {len(key)} characters and may have 1 to {max_length}"
        raise InvalidJob([{"field": HEADER, "message": message}])
    return key
