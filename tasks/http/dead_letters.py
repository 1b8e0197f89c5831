"""/dead-letters: find, read, replay, edit, rehearse, discard and restore them, one by one."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import BaseModel, Field, model_validator
from typing_extensions import TypedDict

from tasks.dead_letters import discarding, editing, inspection, rehearsal, replaying, search
from tasks.dead_letters.masking import Mask
from tasks.http import body
from tasks.http.access import allowed, is_person, require
from tasks.http.problems import problem
from tasks.http.schemas import answer
from tasks.models import DeadLetter, LetterEdit

MOST_LISTED = 200

router = Router(tags=["dead letters"])


class CountOut(TypedDict):
    number: int
    is_capped: Annotated[bool, Field(description="There are more than that, and they were not counted.")]


class LetterOut(TypedDict):
    id: UUID
    job: UUID | None
    attempt: int
    state: str
    reason: str
    task: str
    queue: str
    error: Annotated[str, Field(description="Type and first line.")]
    release: str
    group: UUID | None
    died_at: datetime
    replayed_at: datetime | None
    replayed_by: str
    discarded_at: datetime | None
    discarded_by: str
    delete_at: Annotated[datetime | None, Field(description="A discarded letter can be restored until then.")]


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
    reason: str = Field("", description="Why. The audit trail keeps it.")


class EditIn(BaseModel, extra="forbid"):
    payload: dict[str, Any] | None = Field(None, description="The whole new payload, for a letter with a job.")
    text: str | None = Field(None, description="The repaired envelope, for a message without one.")
    task: str = Field("", max_length=200)
    queue: str = Field("", max_length=100)
    reason: str

    @model_validator(mode="after")
    def _one_of_both(self) -> "EditIn":
        if (self.payload is None) == (self.text is None):
            raise ValueError("give payload for a letter with a job, or text for a message without one")
        return self


class ChangeOut(TypedDict):
    field: str
    kind: Literal["added", "removed", "changed"]
    before: Any
    after: Any


class EditOut(TypedDict):
    id: UUID
    letter: UUID
    state: str
    task: str
    queue: str
    changes: list[ChangeOut]
    reason: str
    edited_by: str
    edited_at: datetime
    decided_by: str
    decided_at: datetime | None
    job: UUID | None


class RehearsalIn(BaseModel, extra="forbid"):
    payload: dict[str, Any] | None = Field(None, description="As after such an edit; null: as it is.")
    task: str = Field("", max_length=200)


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
    count = search.how_many(asked.q, state=asked.state)
    told = {"number": count.number, "is_capped": count.is_capped}
    return answer({"items": [shown(letter) for letter in letters], "count": told, "next": following})


@router.get(
    "/dead-letters/{uuid:letter_id}", response=dict, auth=allowed("dead_letters.view"), summary="Read a dead letter"
)
def read_letter(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """All that is known: cause, payload, attempts, timeline, what the broker knew; with what is sensitive masked."""
    try:
        return _inspected(inspection.inspect(letter_id))
    except DeadLetter.DoesNotExist:
        raise _no_letter(letter_id) from None


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
        return _inspected(inspection.unmask(letter_id, requested_by=_caller(request), reason=why.reason))
    except DeadLetter.DoesNotExist:
        raise _no_letter(letter_id) from None


@router.post(
    "/dead-letters/{uuid:letter_id}/replay",
    response=LetterOut,
    auth=allowed("dead_letters.replay"),
    summary="Replay a dead letter",
    openapi_extra=body.documented(ReplayIn, required=False),
)
def replay(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """Its job is queued again with a fresh count of attempts; a message without a job goes back where it was sent."""
    to = body.read(request, ReplayIn, may_be_empty=True)
    try:
        return answer(shown(replaying.replay(letter_id, requested_by=_caller(request), task=to.task, queue=to.queue)))
    except DeadLetter.DoesNotExist:
        raise _no_letter(letter_id) from None


@router.post(
    "/dead-letters/{uuid:letter_id}/discard",
    response=LetterOut,
    auth=allowed("dead_letters.discard"),
    summary="Discard a dead letter",
    openapi_extra=body.documented(ReasonIn, required=False),
)
def discard(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """It can be restored until ``delete_at``. Takes a reason."""
    why = body.read(request, ReasonIn, may_be_empty=True)
    try:
        return answer(shown(discarding.discard(letter_id, requested_by=_caller(request), reason=why.reason)))
    except DeadLetter.DoesNotExist:
        raise _no_letter(letter_id) from None


@router.post(
    "/dead-letters/{uuid:letter_id}/restore",
    response=LetterOut,
    auth=allowed("dead_letters.restore"),
    summary="Restore a discarded dead letter",
)
def restore(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    try:
        return answer(shown(discarding.restore(letter_id, requested_by=_caller(request))))
    except DeadLetter.DoesNotExist:
        raise _no_letter(letter_id) from None


@router.post(
    "/dead-letters/{uuid:letter_id}/rehearse",
    response=dict,
    auth=allowed("dead_letters.rehearse"),
    summary="Run a dead job in a sandbox",
    openapi_extra=body.documented(RehearsalIn, required=False),
)
def rehearse(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """What a replay would do now, as a report beside the failure. Takes as long as the task, a minute at most."""
    wanted = body.read(request, RehearsalIn, may_be_empty=True)
    require(request, "dead_letters.unmask")  # its log and mails may quote whatever the payload holds
    try:
        report = rehearsal.rehearse(letter_id, requested_by=_caller(request), payload=wanted.payload, task=wanted.task)
    except DeadLetter.DoesNotExist:
        raise _no_letter(letter_id) from None
    return answer({**report.as_dict(), "limits": rehearsal.LIMITS})


@router.post(
    "/dead-letters/{uuid:letter_id}/edit",
    response=EditOut,
    auth=allowed("dead_letters.edit"),
    summary="Edit and replay a dead letter",
    openapi_extra=body.documented(EditIn),
)
def edit_letter(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """Applied at once, or waiting for a second person's approval. A value left masked keeps what it was."""
    wanted = body.read(request, EditIn)
    options = {"edited_by": _caller(request), "task": wanted.task, "queue": wanted.queue, "reason": wanted.reason}
    try:
        if wanted.payload is not None:
            edit = editing.propose(letter_id, wanted.payload, **options)
        else:
            edit = editing.repair(letter_id, wanted.text or "", **options)
    except DeadLetter.DoesNotExist:
        raise _no_letter(letter_id) from None
    return answer(shown_edit(edit))


@router.get(
    "/dead-letters/{uuid:letter_id}/edits",
    response=list[EditOut],
    auth=allowed("dead_letters.view"),
    summary="The edits of a dead letter",
)
def list_edits(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    letter = DeadLetter.objects.filter(pk=letter_id).first()
    if letter is None:
        raise _no_letter(letter_id)
    return answer([shown_edit(edit) for edit in letter.edits.select_related("letter__job").order_by("-id")])


@router.post(
    "/dead-letters/edits/{uuid:edit_id}/approve",
    response=EditOut,
    auth=allowed("dead_letters.approve"),
    summary="Approve an edit",
)
def approve(request: HttpRequest, edit_id: UUID) -> HttpResponse:
    """For a second person's session: who holds a token is not known, and may be the editor."""
    if not is_person(request):
        return problem(request, "forbidden", "an edit is approved by a person: use the session of who approves it")
    try:
        return answer(shown_edit(editing.approve(edit_id, approved_by=_caller(request))))
    except LetterEdit.DoesNotExist:
        raise _no_edit(edit_id) from None


@router.post(
    "/dead-letters/edits/{uuid:edit_id}/reject",
    response=EditOut,
    auth=allowed("dead_letters.reject"),
    summary="Reject an edit",
    openapi_extra=body.documented(ReasonIn, required=False),
)
def reject(request: HttpRequest, edit_id: UUID) -> HttpResponse:
    """The letter stays as it is."""
    why = body.read(request, ReasonIn, may_be_empty=True)
    try:
        return answer(shown_edit(editing.reject(edit_id, rejected_by=_caller(request), reason=why.reason)))
    except LetterEdit.DoesNotExist:
        raise _no_edit(edit_id) from None


def shown(letter: DeadLetter) -> LetterOut:
    return {
        "id": letter.id,
        "job": letter.job_id,
        "attempt": letter.attempt,
        "state": letter.state,
        "reason": letter.reason,
        "task": letter.task,
        "queue": letter.queue,
        "error": inspection.error_line(letter),
        "release": letter.release,
        "group": letter.group_id,
        "died_at": letter.died_at,
        "replayed_at": letter.replayed_at,
        "replayed_by": letter.replayed_by,
        "discarded_at": letter.discarded_at,
        "discarded_by": letter.discarded_by,
        "delete_at": letter.delete_at,
    }


def shown_edit(edit: LetterEdit) -> EditOut:
    return {
        "id": edit.id,
        "letter": edit.letter_id,
        "state": edit.state,
        "task": edit.task,
        "queue": edit.queue,
        "changes": [change.as_dict() for change in editing.diff(edit, mask=Mask().payload)],  # type: ignore[misc]
        "reason": edit.reason,
        "edited_by": edit.edited_by,
        "edited_at": edit.edited_at,
        "decided_by": edit.decided_by,
        "decided_at": edit.decided_at,
        "job": edit.job_id,
    }


def _inspected(found: inspection.Inspection) -> HttpResponse:
    response = answer(found.document())
    response["Cache-Control"] = "no-store"
    return response


def _caller(request: HttpRequest) -> str:
    caller: str = request.auth  # type: ignore[attr-defined]  # set by ninja: what the authenticator returned
    return caller


def _no_letter(letter_id: UUID) -> Http404:
    return Http404(f"there is no dead letter {letter_id}")


def _no_edit(edit_id: UUID) -> Http404:
    return Http404(f"there is no edit {edit_id}")
