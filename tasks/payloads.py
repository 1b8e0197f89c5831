"""Payload <-> JSON: validation against the task's model, the size limit, and files by name."""

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any

from django.conf import settings
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import WithJsonSchema

from tasks.errors import InvalidJob, TooLarge
from tasks.registry import TaskSpec
from tasks.uploads import UPLOADS

STORED_FILE = "stored-file"

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

StoredFile = Annotated[str, WithJsonSchema({"type": "string", "format": STORED_FILE})]
"""The name of a file in the default storage. Forms made from the model show it as an upload."""


def dump_payload(spec: TaskSpec, payload: BaseModel | dict[str, Any], *, from_outside: bool = False) -> str:
    """``payload``, checked, as JSON. Raises InvalidJob that names each wrong field, or the size and its limit.

    ``from_outside``: members that the model does not know are refused, unless it says what becomes of them, and of the
    stored files uploads alone can be named: all else in the storage belongs to somebody.
    """
    strict = from_outside and "extra" not in spec.payload.model_config
    try:
        model = spec.payload.model_validate(payload, extra="forbid" if strict else None)
        data = model.model_dump(mode="json")
    except ValidationError as error:
        raise InvalidJob(problems_of(error)) from None
    if from_outside and (problems := _not_uploaded(_files(spec.payload), data)):
        raise InvalidJob(problems)
    return json_text("payload", data, settings.TASKS_MAX_PAYLOAD_BYTES)


def load_payload(spec: TaskSpec, data: dict[str, Any]) -> BaseModel:
    """The stored ``data`` as the task's model. Raises InvalidJob when today's model no longer accepts it."""
    try:
        return spec.payload.model_validate(data)
    except ValidationError as error:
        raise InvalidJob(problems_of(error)) from None


@cache
def takes_files(model: type[BaseModel]) -> bool:
    """Whether a StoredFile is anywhere in ``model``."""
    return f'"{STORED_FILE}"' in json.dumps(model.model_json_schema())


@cache
def _files(model: type[BaseModel]) -> tuple[str, ...]:
    """The fields that are a StoredFile, or a list of them."""
    fields: dict[str, Any] = model.model_json_schema().get("properties", {}) if takes_files(model) else {}
    return tuple(name for name, about in fields.items() if f'"{STORED_FILE}"' in json.dumps(about))


def _not_uploaded(fields: Iterable[str], data: dict[str, Any]) -> list[dict[str, str]]:
    problems: list[dict[str, str]] = []
    for field in fields:
        given = data.get(field)
        for name in given if isinstance(given, list) else [given]:
            if isinstance(name, str) and name and not name.startswith(f"{UPLOADS}/"):
                message = f"names no upload: a file is sent first, and is then called {UPLOADS}/…"
                problems.append({"field": f"payload.{field}", "message": message})
    return problems


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
