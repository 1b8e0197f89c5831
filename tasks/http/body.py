"""The JSON body of a request, parsed and checked in one pass. Ninja parses it first, and checks a copy."""

from typing import Any, TypeVar

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
    HttpError, or a ValidationError of its own."""
    if may_be_empty and not request.body:
        return model.model_validate({})
    if request.body and request.content_type != "application/json":
        raise errors.HttpError(415, "the body is application/json")
    try:
        return model.model_validate_json(request.body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        if faults[0]["type"] == "json_invalid" and request.body:
            raise errors.HttpError(400, faults[0]["msg"]) from None
        raise errors.ValidationError([{**fault, "loc": ("body", "", *fault["loc"])} for fault in faults]) from None
