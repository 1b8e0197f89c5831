"""Payload <-> JSON: validation against the task's model, the size limit, and files by name."""

import json
import re
from typing import Annotated, Any

from django.conf import settings
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import WithJsonSchema

from tasks.errors import InvalidJob, TooLarge
from tasks.registry import TaskSpec

STORED_FILE = "stored-file"

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

StoredFile = Annotated[str, WithJsonSchema({"type": "string", "format": STORED_FILE})]
"""The name of a file in the default storage. Forms made from the model show it as an upload."""


def dump_payload(spec: TaskSpec, payload: BaseModel | dict[str, Any]) -> str:
    """``payload``, checked, as JSON. Raises InvalidJob that names each wrong field, or the size and its limit."""
    try:
        model = spec.payload.model_validate(payload)
        data = model.model_dump(mode="json")
    except ValidationError as error:
        raise InvalidJob(problems_of(error)) from None
    return json_text("payload", data, settings.TASKS_MAX_PAYLOAD_BYTES)


def load_payload(spec: TaskSpec, data: dict[str, Any]) -> BaseModel:
    """The stored ``data`` as the task's model. Raises InvalidJob when today's model no longer accepts it."""
    try:
        return spec.payload.model_validate(data)
    except ValidationError as error:
        raise InvalidJob(problems_of(error)) from None


def plain_json(name: str, value: Any, max_bytes: int) -> Any:
    """``value`` as plain JSON values, whatever subclasses it was made of. Raises InvalidJob as ``json_text`` does."""
    return json.loads(json_text(name, value, max_bytes))


def json_text(name: str, value: Any, max_bytes: int) -> str:
    """``value`` as JSON. Raises InvalidJob unless it is JSON that a database can keep, of at most ``max_bytes``."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        size_bytes = len(text.encode())
    except (TypeError, ValueError) as error:  # UnicodeEncodeError, half a surrogate pair, is a ValueError
        raise InvalidJob([{"field": name, "message": f"is not JSON: {error}"}]) from None
    if size_bytes > max_bytes:
        remedy = "store the data and send its name (StoredFile) instead"
        message = f"is {size_bytes:,} bytes and the limit is {max_bytes:,}: {remedy}"
        raise TooLarge([{"field": name, "message": message}])
    if "\\u0000" in text and _NUL.search(text):  # hardly any text has the first, which is found much faster
        raise InvalidJob([{"field": name, "message": "holds a NUL character, which PostgreSQL can not store"}])
    return text


def problems_of(error: ValidationError) -> list[dict[str, str]]:
    """A validation error as ``{"field": "payload.to.0", "message": …}``, one per fault."""
    return [
        {"field": ".".join(["payload", *map(str, fault["loc"])]), "message": fault["msg"].removeprefix("Value error, ")}
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
