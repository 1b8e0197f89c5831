"""The query string of a request, checked as a whole: a filter that is misspelt would else show everything."""

from typing import Annotated, Any, TypeVar

from django.http import HttpRequest
from ninja.errors import ValidationError as InvalidRequest
from pydantic import BaseModel, StringConstraints, ValidationError

Model = TypeVar("Model", bound=BaseModel)

PLAIN = r"^[^\x00-\x1f\x7f]*$"
"""Text without control characters: no database, header or log has room for them."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PLAIN)]


def documented(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The ``parameters`` of an operation whose query string is ``model``."""
    schema = model.model_json_schema()
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            **({"description": described.pop("description")} if "description" in described else {}),
            "schema": described,
        }
        for name, described in schema["properties"].items()
    ]


def read(request: HttpRequest, model: type[Model]) -> Model:
    """The query string as ``model``, each of whose parameters comes once. Raises ninja's ValidationError."""
    given = {name: values[0] if len(values) == 1 else values for name, values in request.GET.lists()}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidRequest([{**fault, "loc": ("query", "", *fault["loc"])} for fault in faults]) from None
