"""/dead-letters: find, read, replay, edit, rehearse, discard and restore them, one by one."""

from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tasks import audit
from tasks.dead_letters import discarding, documents, inspection, rehearsal, replaying, search
from tasks.dead_letters.documents import CountOut, LetterOut
from tasks.http import body
from tasks.http.access import allowed, caller_of, require
from tasks.http.schemas import answer
from tasks.models import DeadLetter

MOST_LISTED = 200

router = Router(tags=["dead letters"])


class LettersOut(TypedDict):
    items: list[LetterOut]
    count: CountOut
    next: Annotated[str | None, Field(description="The address of what follows; null at the end.")]


class LettersQuery(BaseModel):
    q: str = Field(
        "", description="A query as in docs/recovery-desk.md: `timeout task:email.send data.customer.id:42`."
    )
    state: Literal["open", "replayed", "discarded", "all"] = "open"
    limit: int = Field(50, ge=1, le=MOST_LISTED)
    cursor: UUID | None = Field(None, description="From `next`.")


class ReplayIn(BaseModel, extra="forbid"):
    task: str = Field("", max_length=200, description="Replay it as this task.")
    queue: str = Field("", max_length=100, description="Replay it on this queue.")


class ReasonIn(BaseModel, extra="forbid"):
    reason: str = Field("", description="Why. The audit trail keeps it.", examples=["a test order"])


class RehearsalIn(BaseModel, extra="forbid"):
    payload: dict[str, Any] | None = Field(None, description="As after such an edit; null: as it is.")
    task: str = Field("", max_length=200, description="Rehearse it as this task.")
    unmask: bool = Field(
        False, strict=True, description="Hide nothing of what the task repeats. Takes that right; it is audited."
    )


@router.get("/dead-letters", response=LettersOut, auth=allowed("dead_letters.view"), summary="Find dead letters")
def list_letters(request: HttpRequest, asked: Query[LettersQuery]) -> HttpResponse:
    """The newest first. A state in the query goes before ``state``."""
    found = search.letters(asked.q, state=asked.state)
    page = found.filter(pk__lt=asked.cursor) if asked.cursor else found
    letters = list(page.defer("body", "properties", "traceback", "evidence")[: asked.limit + 1])
    following = None
    if len(letters) > asked.limit:
        letters.pop()
        query = request.GET.copy()
        query["cursor"] = str(letters[-1].pk)
        following = f"{request.path}?{query.urlencode()}"
    count = documents.of_count(search.how_many(asked.q, state=asked.state))
    return answer({"items": [documents.of_letter(letter) for letter in letters], "count": count, "next": following})


@router.get(
    "/dead-letters/{uuid:letter_id}", response=dict, auth=allowed("dead_letters.view"), summary="Read a dead letter"
)
def read_letter(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """All that is known: cause, payload, attempts, timeline, what the broker knew; with what is sensitive masked."""
    try:
        return _inspected(inspection.inspect(letter_id))
    except DeadLetter.DoesNotExist:
        raise no_letter(letter_id) from None


@router.post(
    "/dead-letters/{uuid:letter_id}/unmask",
    response=dict,
    auth=allowed("dead_letters.view", "dead_letters.unmask"),
    summary="Read a dead letter unmasked",
    openapi_extra=body.documented(ReasonIn, required=False),
)
def unmask(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """As the letter is read, with nothing hidden. That somebody did is in the audit trail."""
    why = body.read(request, ReasonIn, may_be_empty=True)
    try:
        return _inspected(inspection.unmask(letter_id, requested_by=caller_of(request), reason=why.reason))
    except DeadLetter.DoesNotExist:
        raise no_letter(letter_id) from None


@router.post(
    "/dead-letters/{uuid:letter_id}/replay",
    response=LetterOut,
    auth=allowed("dead_letters.view", "dead_letters.replay"),
    summary="Replay a dead letter",
    openapi_extra=body.documented(ReplayIn, required=False),
)
def replay(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """Its job is queued again with a fresh count of attempts; a message without a job goes back where it was sent."""
    to = body.read(request, ReplayIn, may_be_empty=True)
    try:
        return answer(
            documents.of_letter(
                replaying.replay(letter_id, requested_by=caller_of(request), task=to.task, queue=to.queue)
            )
        )
    except DeadLetter.DoesNotExist:
        raise no_letter(letter_id) from None


@router.post(
    "/dead-letters/{uuid:letter_id}/discard",
    response=LetterOut,
    auth=allowed("dead_letters.view", "dead_letters.discard"),
    summary="Discard a dead letter",
    openapi_extra=body.documented(ReasonIn, required=False),
)
def discard(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """It can be restored until ``delete_at``. Takes a reason."""
    why = body.read(request, ReasonIn, may_be_empty=True)
    try:
        return answer(
            documents.of_letter(discarding.discard(letter_id, requested_by=caller_of(request), reason=why.reason))
        )
    except DeadLetter.DoesNotExist:
        raise no_letter(letter_id) from None


@router.post(
    "/dead-letters/{uuid:letter_id}/restore",
    response=LetterOut,
    auth=allowed("dead_letters.view", "dead_letters.restore"),
    summary="Restore a discarded dead letter",
)
def restore(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    try:
        return answer(documents.of_letter(discarding.restore(letter_id, requested_by=caller_of(request))))
    except DeadLetter.DoesNotExist:
        raise no_letter(letter_id) from None


@router.post(
    "/dead-letters/{uuid:letter_id}/rehearse",
    response=dict,
    auth=allowed("dead_letters.view", "dead_letters.rehearse"),
    summary="Run a dead job in a sandbox",
    openapi_extra=body.documented(RehearsalIn, required=False),
)
def rehearse(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """What a replay would do now, as a report beside the failure. Nothing is sent or changed. Takes as long as the
    task, a minute at most."""
    wanted = body.read(request, RehearsalIn, may_be_empty=True)
    if wanted.unmask:
        require(request, "dead_letters.unmask")
    try:
        report = rehearsal.rehearse(
            letter_id, requested_by=caller_of(request), payload=wanted.payload, task=wanted.task
        )
    except DeadLetter.DoesNotExist:
        raise no_letter(letter_id) from None
    if wanted.unmask:
        audit.record(caller_of(request), "dead_letters.unmask", letter_id, detail={"where": "rehearsal"})
    else:
        report = rehearsal.masked(report, payload=wanted.payload)
    return answer({**report.as_dict(), "is_masked": not wanted.unmask, "limits": rehearsal.LIMITS})


def _inspected(found: inspection.Inspection) -> HttpResponse:
    response = answer(found.document())
    response["Cache-Control"] = "no-store"
    return response


def no_letter(letter_id: UUID) -> Http404:
    """To be raised where no letter has the id."""
    return Http404(f"there is no dead letter {letter_id}")
