"""The query string of a request, checked as a whole: a filter that is misspelt would else show everything."""

from typing import Annotated, Any, TypeVar

from django.http import HttpRequest
from ninja.errors import ValidationError as InvalidRequest
from pydantic import AwareDatetime, BaseModel, BeforeValidator, StringConstraints, ValidationError

Model = TypeVar("Model", bound=BaseModel)

PLAIN = r"^[^\x00-\x1f\x7f]*$"
"""Text without control characters: no database, header or log has room for them."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PLAIN)]


def _written(value: object) -> object:
    if isinstance(value, str) and "-" not in value.strip()[1:]:
        raise ValueError("is a moment with its time zone, like 2026-01-31T08:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written)]
"""Not a number, which would be seconds to some and milliseconds to others."""


def documented(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The ``parameters`` of an operation whose query string is ``model``."""
    schema = model.model_json_schema(ref_template="{model}")
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            **{word: described[word] for word in ("description",) if word in described},
            "schema": _without_null(described, schema.get("$defs", {})),
        }
        for name, described in schema["properties"].items()
    ]


def _without_null(described: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter, which is left out rather than null."""
    choices = [choice for choice in described.get("anyOf", [described]) if choice.get("type") != "null"]
    chosen = definitions[choices[0]["$ref"]] if "$ref" in choices[0] else choices[0]
    return {word: value for word, value in chosen.items() if word not in ("description", "title")}


def read(request: HttpRequest, model: type[Model]) -> Model:
    """The query string as ``model``, each of whose parameters comes once. Raises ninja's ValidationError."""
    given = {name: values[0] if len(values) == 1 else values for name, values in request.GET.lists()}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidRequest([{**fault, "loc": ("query", "", *fault["loc"])} for fault in faults]) from None
