"""The Idempotency-Key header."""

import json
import re
from hashlib import sha256
from typing import Any

from django.http import HttpRequest
from pydantic import BaseModel

from tasks.errors import InvalidJob
from tasks.http.query import PLAIN

HEADER = "Idempotency-Key"
HEADER_META = "HTTP_IDEMPOTENCY_KEY"


def documented(description: str, *, max_length: int = 200) -> dict[str, Any]:
    """For ``openapi_extra`` of an operation that takes the header."""
    schema = {"type": "string", "minLength": 1, "maxLength": max_length, "pattern": PLAIN}
    return {"parameters": [{"name": HEADER, "in": "header", "description": description, "schema": schema}]}


def digest_of(request: BaseModel) -> str:
    """What is the same for the same request, whatever the order of its members."""
    said = request.model_dump(mode="json", exclude={"idempotency_key"})
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def digest(*said: Any) -> str:
    """As ``digest_of``, of JSON values that were not read into one model."""
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def key_of(request: HttpRequest, *, max_length: int = 200) -> str | None:
    """Past ninja and ``request.headers``, which would copy every header for the sake of this one."""
    key: str | None = request.META.get(HEADER_META)
    if key is not None and not 0 < len(key) <= max_length:
        message = f"has {len(key)} characters and may have 1 to {max_length}"
        raise InvalidJob([{"field": HEADER, "message": message}])
    if key is not None and not re.fullmatch(PLAIN, key):
        raise InvalidJob([{"field": HEADER, "message": "holds a control character"}])
    return key
