"""The API's description: what each operation says of itself, and what holds for all of them."""

from typing import Any

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from tasks.http.problems import PROBLEM_TYPES, slug_of

_TEXT = {"type": "string"}
_SECONDS = {"type": "integer", "minimum": 0}

HEADERS: dict[str, dict[str, Any]] = {
    "Location": {
        "description": "Where the job or batch is read.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Retry-After": {"description": "Seconds to wait before the same is sent again.", "schema": _SECONDS},
    "WWW-Authenticate": {"description": "How to say who you are.", "schema": _TEXT},
    "RateLimit": {
        "description": "What the token has left in this minute, and how many seconds that has left.",
        "schema": {**_TEXT, "examples": ['"minute";r=5940;t=42']},
    },
    "RateLimit-Policy": {
        "description": "The token's limit; absent where it has none.",
        "schema": {**_TEXT, "examples": ['"minute";q=6000;w=60']},
    },
}

PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457. What `type` means can be read at its address.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "examples": [f"/api/v1/problems/{next(iter(PROBLEM_TYPES))}"],
        },
        "title": _TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {**_TEXT, "description": "What happened, or what to do about it."},
        "instance": {**_TEXT, "description": "Where."},
        "errors": {
            "description": "Each field that is wrong, and how.",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": _TEXT, "detail": _TEXT},
            },
        },
    },
}

_SCHEMES = {
    "Token": "A token that `manage.py token create` or the admin has made, with the scope that the operation needs. "
    "It sees what it asked for itself, unless it has the scope `jobs:read_all` too.",
    "StaffSession": "A staff user of this site, with the permission. Unsafe methods need the header `X-CSRFToken`.",
}


class Api(NinjaAPI):
    """With every answer described, problems included, and names for the operations that a client can be made of."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **given: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**given)
        components = schema["components"]
        components["headers"] = HEADERS
        components["schemas"]["Problem"] = PROBLEM
        components["responses"] = {slug: _problem(slug) for slug in PROBLEM_TYPES}
        for name, scheme in components["securitySchemes"].items():
            scheme["description"] = _SCHEMES[name]
        for address, operations in schema["paths"].items():
            for method, operation in operations.items():
                _complete(operation, address, method)
        schema["paths"] = _hoisted(schema["paths"], components["schemas"])
        return schema


def _complete(operation: dict[str, Any], address: str, method: str) -> None:
    """Add the problems that an operation like this can answer with, and the headers of its answers."""
    answers = operation["responses"]
    is_guarded, takes = bool(operation.get("security")), operation.get("parameters", [])
    for status, answer in answers.items():
        names = ["RateLimit", "RateLimit-Policy"] if is_guarded else []
        names += ["Location"] if int(status) == 202 and not address.endswith("/cancel") else []
        answer["headers"] = {name: _ref("headers", name) for name in names} | answer.get("headers", {})
    found = {500, 503}
    if is_guarded:
        found |= {401, 403, 429}
    if "{" in address:
        found.add(404)
    if "requestBody" in operation:
        found |= {400, 413, 415, 422}
    if any(parameter["in"] in ("query", "header") for parameter in takes):
        found.add(422)
    if any(parameter["name"] == "Idempotency-Key" for parameter in takes):
        answers.setdefault(409, _ref("responses", "still-running"))
    if method != "get" and "{" in address:  # what is there may be in no state for it
        answers.setdefault(409, _ref("responses", "conflict"))
    for status in sorted(found):
        answers.setdefault(status, _ref("responses", "malformed" if status == 400 else slug_of(status)))
    operation["responses"] = dict(sorted(answers.items(), key=lambda entry: int(entry[0])))


def _hoisted(value: Any, schemas: dict[str, Any]) -> Any:
    """``value`` with what Pydantic defines beside each of its schemas put among the ``schemas`` of all."""
    if isinstance(value, list):
        return [_hoisted(item, schemas) for item in value]
    if not isinstance(value, dict):
        return value
    for name, schema in value.get("$defs", {}).items():
        shared = _hoisted(schema, schemas)
        if schemas.setdefault(name, shared) != shared:
            raise ValueError(f"two schemas are called {name}; rename one of the models")
    return {
        name: item.replace("#/$defs/", "#/components/schemas/") if name == "$ref" else _hoisted(item, schemas)
        for name, item in value.items()
        if name != "$defs"
    }


def _problem(slug: str) -> dict[str, Any]:
    kind = PROBLEM_TYPES[slug]
    example = {
        "type": f"/api/v1/problems/{slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.remedy,
        "instance": "/api/v1/jobs",
    }
    names = ["RateLimit", "RateLimit-Policy", "Retry-After"] if kind.status == 429 else []
    names += ["Retry-After"] if slug in ("still-running", "unavailable") else []
    names += ["WWW-Authenticate"] if kind.status == 401 else []
    return {
        "description": f"{kind.title}. {kind.remedy}",
        "headers": {name: _ref("headers", name) for name in names},
        "content": {"application/problem+json": {"schema": _ref("schemas", "Problem"), "example": example}},
    }


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}
