"""/dead-letters/operations: one verb on all that match, looked at first, then carried on by the workers. Purging a
queue is one of them."""

import math
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Query, Router
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tasks.dead_letters import documents, operations, preflight
from tasks.dead_letters.documents import OperationOut, PreflightOut
from tasks.dead_letters.pacing import FASTEST, RATE_PER_SECOND, STEPS, STOP_RATIO
from tasks.dead_letters.query import up_to
from tasks.http import body
from tasks.http.access import allowed, caller_of, require
from tasks.http.schemas import answer
from tasks.models import Operation
from tasks.permissions import of_operation

MOST_LISTED = 200

router = Router(tags=["operations"])

LetterQuery = Annotated[
    str | dict[str, Any],
    Field(
        description="As in docs/recovery-desk.md, text or object; for restore and unpurge also {operation: its id}.",
        examples=["task:email.send after:2h"],
    ),
]


Rate = Annotated[
    Annotated[float, Field(strict=True)] | Literal["fastest"] | None,
    Field(description=f"Of the rest, {RATE_PER_SECOND} unless given, {FASTEST:,.0f} at most. Replay only."),
]


class PreflightIn(BaseModel, extra="forbid"):
    verb: Literal["replay", "discard", "restore", "unpurge"]
    query: LetterQuery
    rate_per_second: Rate = None


class OperationIn(BaseModel, extra="forbid"):
    verb: Literal["replay", "discard", "restore", "unpurge"]
    query: LetterQuery
    reason: str = Field("", description="Why. Needed to discard.", examples=["the mail server is back"])
    steps: list[int] | None = Field(
        None, description=f"Of the canary; [] for none; null: {list(STEPS)}. Replay only.", examples=[list(STEPS)]
    )
    rate_per_second: Rate = None
    stop_ratio: float | None = Field(
        None,
        strict=True,
        description=f"Stops once a larger part has failed again; {STOP_RATIO} unless given. Replay only.",
    )


class PurgeIn(BaseModel, extra="forbid"):
    states: list[Literal["queued", "scheduled", "retrying"]] = Field(["queued"], min_length=1)
    reason: str = Field("", description="Why. Needed.", examples=["a client sent the same order 4,000 times"])


class OperationsOut(TypedDict):
    items: list[OperationOut]
    next: Annotated[str | None, Field(description="The address of what follows; null at the end.")]


class OperationsQuery(BaseModel):
    limit: int = Field(50, ge=1, le=MOST_LISTED)
    cursor: UUID | None = Field(None, description="From `next`.")


@router.post(
    "/dead-letters/preflight",
    response=PreflightOut,
    auth=allowed("dead_letters.view"),
    summary="What an operation would do",
    openapi_extra=body.documented(PreflightIn),
)
def look(request: HttpRequest) -> HttpResponse:
    """Nothing is done. It looks at letters for a few seconds at most, and says how far it came. Start the operation
    with the `query` of the answer: what dies meanwhile is then not in it."""
    asked = body.read(request, PreflightIn)
    query = asked.query if asked.verb == "unpurge" else up_to(asked.query, timezone.now().isoformat())
    pacing = operations.pacing_for(asked.verb, rate_per_second=_asked_rate(asked.rate_per_second))
    found = preflight.look(asked.verb, query, rate_per_second=pacing.rate_per_second)
    return answer(documents.of_preflight(found, query))


@router.post(
    "/dead-letters/operations",
    response={202: OperationOut},
    auth=allowed("operations.start"),
    summary="Replay, discard or restore all that match",
    openapi_extra=body.documented(OperationIn),
)
def start(request: HttpRequest) -> HttpResponse:
    """The set is frozen when this answers. Takes the right to the verb as well. Replays go by canary: each step waits
    for the outcomes of the one before."""
    asked = body.read(request, OperationIn)
    require(request, of_operation(asked.verb))
    return _accepted(
        operations.start(
            asked.verb,
            asked.query,
            requested_by=caller_of(request),
            reason=asked.reason,
            steps=asked.steps,
            rate_per_second=_asked_rate(asked.rate_per_second),
            stop_ratio=asked.stop_ratio,
        )
    )


@router.post(
    "/queues/{queue}/purge",
    response={202: OperationOut},
    auth=allowed("operations.start", "queues.purge"),
    summary="Purge a queue",
    openapi_extra=body.documented(PurgeIn, required=False),
)
def purge(request: HttpRequest, queue: str) -> HttpResponse:
    """Its waiting jobs are cancelled and parked; messages of others are not touched. The operation `unpurge` of
    `{"operation": its id}` puts the same jobs back, in the same order."""
    asked = body.read(request, PurgeIn, may_be_empty=True)
    query = {"queue": queue, "states": asked.states}
    return _accepted(operations.start("purge", query, requested_by=caller_of(request), reason=asked.reason))


@router.get(
    "/dead-letters/operations", response=OperationsOut, auth=allowed("operations.view"), summary="List operations"
)
def list_operations(request: HttpRequest, asked: Query[OperationsQuery]) -> HttpResponse:
    """The newest first."""
    found = Operation.objects.order_by("-id")
    if asked.cursor:
        found = found.filter(pk__lt=asked.cursor)
    page = list(found[: asked.limit + 1])
    following = None
    if len(page) > asked.limit:
        page.pop()
        query = request.GET.copy()
        query["cursor"] = str(page[-1].pk)
        following = f"{request.path}?{query.urlencode()}"
    return answer({"items": [documents.of_operation(each) for each in page], "next": following})


@router.get(
    "/dead-letters/operations/{uuid:operation_id}",
    response=OperationOut,
    auth=allowed("operations.view"),
    summary="How far an operation is",
)
def read_operation(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    operation = Operation.objects.filter(pk=operation_id).first()
    if operation is None:
        raise _no_operation(operation_id)
    return answer(documents.of_operation(operation))


@router.post(
    "/dead-letters/operations/{uuid:operation_id}/pause",
    response=OperationOut,
    auth=allowed("operations.pause"),
    summary="Pause an operation",
)
def pause(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """Nothing more is sent until it is resumed."""
    return _steered(request, operation_id, operations.pause)


@router.post(
    "/dead-letters/operations/{uuid:operation_id}/resume",
    response=OperationOut,
    auth=allowed("operations.resume"),
    summary="Resume an operation",
)
def resume(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    return _steered(request, operation_id, operations.resume)


@router.post(
    "/dead-letters/operations/{uuid:operation_id}/cancel",
    response=OperationOut,
    auth=allowed("operations.cancel"),
    summary="Cancel an operation",
)
def cancel(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """What it has not sent stays as it is."""
    return _steered(request, operation_id, operations.cancel)


def _asked_rate(rate: float | Literal["fastest"] | None) -> float | None:
    return math.inf if rate == "fastest" else rate


def _accepted(operation: Operation) -> HttpResponse:
    return answer(
        documents.of_operation(operation), status=202, location=f"/api/v1/dead-letters/operations/{operation.pk}"
    )


def _steered(request: HttpRequest, operation_id: UUID, act: Any) -> HttpResponse:
    """Whoever steers an operation has the right to what it does, too."""
    operation = Operation.objects.filter(pk=operation_id).first()
    if operation is None:
        raise _no_operation(operation_id)
    require(request, of_operation(operation.verb))
    return answer(documents.of_operation(act(operation_id, requested_by=caller_of(request))))


def _no_operation(operation_id: UUID) -> Http404:
    return Http404(f"there is no operation {operation_id}")
