"""/queues: how they stand, pause one, resume one."""

from datetime import datetime
from typing import Annotated

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Router
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tasks import queues
from tasks.audit import MAX_REASON
from tasks.http import body
from tasks.http.access import allowed
from tasks.http.schemas import answer
from tasks.models import PausedQueue
from tasks.queues import QueueState
from tasks.topology import TOPOLOGY

router = Router(tags=["queues"])


class PauseIn(BaseModel, extra="forbid"):
    reason: str = Field("", max_length=MAX_REASON, description="For people, and the audit trail.")
    until: datetime | None = Field(None, description="With a time zone: it is resumed then by itself.")


class PauseOut(TypedDict):
    since: datetime
    until: Annotated[datetime | None, Field(description="None: until somebody resumes it.")]
    by: str
    reason: str


class QueueOut(TypedDict):
    name: str
    paused: PauseOut | None
    messages: Annotated[int | None, Field(description="Ready in the broker; None when nobody can tell.")]
    trouble: Annotated[str, Field(description="Why nobody can tell.")]
    jobs: Annotated[dict[str, int], Field(description="Unfinished ones, by state.")]
    workers: Annotated[int, Field(description="Alive, and taking the queue whenever it is not paused.")]


class QueuesOut(TypedDict):
    queues: list[QueueOut]


@router.get("/queues", response=QueuesOut, auth=allowed("queues.view"), summary="How all queues stand")
def read_queues(request: HttpRequest) -> HttpResponse:
    return answer({"queues": [_shown(state) for state in queues.states()]})


@router.get("/queues/{name}", response=QueueOut, auth=allowed("queues.view"), summary="How a queue stands")
def read_queue(request: HttpRequest, name: str) -> HttpResponse:
    _require_known(name)
    return _told(name)


@router.post(
    "/queues/{name}/pause",
    response=QueueOut,
    auth=allowed("queues.pause"),
    summary="Begin no job of a queue",
    openapi_extra=body.documented(PauseIn, required=False),
)
def pause_queue(request: HttpRequest, name: str) -> HttpResponse:
    """Within about two seconds. What runs ends, and jobs are accepted as ever. To pause what is paused changes its
    reason and its end. The body may be left out."""
    _require_known(name)
    given = body.read(request, PauseIn) if request.body else PauseIn()
    caller: str = request.auth  # type: ignore[attr-defined]  # set by ninja: what the authenticator returned
    queues.pause(name, requested_by=caller, reason=given.reason, until=given.until)
    return _told(name)


@router.post(
    "/queues/{name}/resume", response=QueueOut, auth=allowed("queues.resume"), summary="Let a queue's jobs begin again"
)
def resume_queue(request: HttpRequest, name: str) -> HttpResponse:
    """Within about two seconds. To resume what is not paused changes nothing."""
    _require_known(name)
    caller: str = request.auth  # type: ignore[attr-defined]  # set by ninja: what the authenticator returned
    queues.resume(name, requested_by=caller)
    return _told(name)


def _require_known(name: str) -> None:
    if name not in TOPOLOGY.queue_names:
        raise Http404(f"there is no queue {name!r}; there are {', '.join(TOPOLOGY.queue_names)}")


def _told(name: str) -> HttpResponse:
    (state,) = queues.states((name,))
    return answer(_shown(state))


def _shown(state: QueueState) -> QueueOut:
    return {
        "name": state.name,
        "paused": _shown_pause(state.pause) if state.pause else None,
        "messages": state.messages,
        "trouble": state.trouble,
        "jobs": state.jobs,
        "workers": state.workers,
    }


def _shown_pause(pause: PausedQueue) -> PauseOut:
    return {"since": pause.since, "until": pause.until, "by": pause.paused_by, "reason": pause.reason}
