"""The JSON body of a request, parsed and checked in one pass. Ninja parses it first, and checks a copy."""

from typing import Any, TypeVar

import jiter
from django.http import HttpRequest
from ninja import errors
from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


def documented(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """For ``openapi_extra`` of an operation that reads ``model``."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"content": content, "required": required}}


def read(request: HttpRequest, model: type[Model], *, may_be_empty: bool = False) -> Model:
    """The body as ``model``; with ``may_be_empty``, no body stands for an empty object. Raises what ninja would: an
    HttpError, or a ValidationError of its own.

    A member that comes twice is refused, as are broken UTF-8, half surrogate pairs, NaN, numbers of thousands of digits
    and depths beyond 200: parsers disagree about each, so nobody knows what was meant.
    """
    body = request.body
    if not body and may_be_empty:
        return model.model_validate({})
    if not body:
        raise errors.ValidationError([{"loc": ("body", ""), "msg": "is missing", "type": "missing"}])
    if request.content_type != "application/json":
        raise errors.HttpError(415, "the body is application/json")
    return checked(parsed(request), model)


def parsed(request: HttpRequest) -> Any:
    """The JSON of the body, whatever it is. Raises HttpError where ``read`` would refuse it unread."""
    return parsed_text(request.body)


def parsed_text(text: bytes) -> Any:
    """``text`` as JSON, by the rules of ``read``. Raises HttpError."""
    try:
        return jiter.from_json(text, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError as error:
        raise errors.HttpError(400, str(error)) from None


def checked(given: Any, model: type[Model], *place: str) -> Model:
    """``given`` as ``model``; its faults are named below ``place``. Raises ninja's ValidationError."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise errors.ValidationError(
            [{**fault, "loc": ("body", "", *place, *fault["loc"])} for fault in faults]
        ) from None
