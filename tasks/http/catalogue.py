"""/tasks: the kinds of work there are, and what each wants."""

from typing import Annotated, Any

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Router
from pydantic import Field
from typing_extensions import TypedDict

from tasks.http.access import allowed
from tasks.http.schemas import answer
from tasks.registry import TaskSpec, registry

router = Router(tags=["tasks"])


class RetryOut(TypedDict):
    max_attempts: Annotated[int, Field(description="The first run included.")]
    base_seconds: Annotated[float, Field(description="After the first attempt; it doubles with each.")]
    cap_seconds: Annotated[float, Field(description="No wait is longer.")]


class TaskOut(TypedDict):
    name: str
    aliases: Annotated[list[str], Field(description="Names that it had before, and still goes by.")]
    title: str
    description: str
    queue: str
    envelope_types: Annotated[
        list[str], Field(description="What foreign producers call it in the `type` of an envelope, beside its name.")
    ]
    retry: RetryOut
    time_limit_seconds: float
    payload_schema: Annotated[dict[str, Any], Field(description="JSON Schema of a job's `payload`.")]


class Tasks(TypedDict):
    items: list[TaskOut]


@router.get("/tasks", response=Tasks, auth=allowed("jobs.view"), summary="List the kinds of work")
def list_tasks(request: HttpRequest) -> HttpResponse:
    return answer({"items": [_shown(spec) for spec in registry if not spec.is_internal]})


@router.get("/tasks/{name}", response=TaskOut, auth=allowed("jobs.view"), summary="What a kind of work wants")
def read_task(request: HttpRequest, name: str) -> HttpResponse:
    """By its name, or one that it had before."""
    if name not in registry or registry.get(name).is_internal:
        raise Http404(f"there is no task {name!r}")
    return answer(_shown(registry.get(name)))


def _shown(spec: TaskSpec) -> TaskOut:
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "title": spec.title,
        "description": spec.description,
        "queue": spec.queue.name,
        "envelope_types": spec.envelope_types,
        "retry": {
            "max_attempts": spec.retry.max_attempts,
            "base_seconds": spec.retry.base_seconds,
            "cap_seconds": spec.retry.cap_seconds,
        },
        "time_limit_seconds": spec.time_limit_seconds,
        "payload_schema": spec.payload.model_json_schema(),
    }
