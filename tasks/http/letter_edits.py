"""/dead-letters/…/edit and /dead-letters/edits: a letter is changed and replayed, by one person or by two."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Router
from pydantic import BaseModel, Field, model_validator

from tasks.dead_letters import documents, editing
from tasks.dead_letters.documents import EditOut
from tasks.http import body
from tasks.http.access import allowed, caller_of, is_person, require
from tasks.http.dead_letters import ReasonIn, no_letter
from tasks.http.problems import problem
from tasks.http.schemas import answer
from tasks.models import DeadLetter, LetterEdit

router = Router(tags=["dead letters"])


class EditIn(BaseModel, extra="forbid"):
    payload: dict[str, Any] | None = Field(
        None, description="The whole new payload, for a letter with a job.", examples=[{"to": ["ann@example.com"]}]
    )
    text: str | None = Field(None, description="The repaired envelope, for a message without one.", examples=[None])
    task: str = Field("", max_length=200)
    queue: str = Field("", max_length=100)
    reason: str = Field(examples=["the address had a typo"])

    @model_validator(mode="after")
    def _one_of_both(self) -> "EditIn":
        if (self.payload is None) == (self.text is None):
            raise ValueError("give payload for a letter with a job, or text for a message without one")
        return self


@router.post(
    "/dead-letters/{uuid:letter_id}/edit",
    response=EditOut,
    auth=allowed("dead_letters.view", "dead_letters.edit"),
    summary="Edit and replay a dead letter",
    openapi_extra=body.documented(EditIn),
)
def edit_letter(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """Applied at once, or waiting for a second person's approval. A value left masked keeps what it was."""
    wanted = body.read(request, EditIn)
    options = {"edited_by": caller_of(request), "task": wanted.task, "queue": wanted.queue, "reason": wanted.reason}
    try:
        if wanted.payload is not None:
            edit = editing.propose(letter_id, wanted.payload, **options)
        else:
            edit = editing.repair(letter_id, wanted.text or "", **options)
    except DeadLetter.DoesNotExist:
        raise no_letter(letter_id) from None
    return answer(documents.of_edit(edit))


@router.get(
    "/dead-letters/{uuid:letter_id}/edits",
    response=list[EditOut],
    auth=allowed("dead_letters.view"),
    summary="The edits of a dead letter",
)
def list_edits(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    letter = DeadLetter.objects.filter(pk=letter_id).first()
    if letter is None:
        raise no_letter(letter_id)
    return answer([documents.of_edit(edit) for edit in letter.edits.select_related("letter__job").order_by("-id")])


@router.post(
    "/dead-letters/edits/{uuid:edit_id}/approve",
    response=EditOut,
    auth=allowed("dead_letters.view", "dead_letters.approve"),
    summary="Approve an edit",
)
def approve(request: HttpRequest, edit_id: UUID) -> HttpResponse:
    """For a second person's session: who holds a token is not known, and may be the editor."""
    if not is_person(request):
        return problem(request, "forbidden", "an edit is approved by a person: use the session of who approves it")
    try:
        return answer(documents.of_edit(editing.approve(edit_id, approved_by=caller_of(request))))
    except LetterEdit.DoesNotExist:
        raise _no_edit(edit_id) from None


@router.post(
    "/dead-letters/edits/{uuid:edit_id}/reject",
    response=EditOut,
    auth=allowed("dead_letters.view"),
    summary="Reject an edit",
    openapi_extra=body.documented(ReasonIn, required=False),
)
def reject(request: HttpRequest, edit_id: UUID) -> HttpResponse:
    """The letter stays as it is. Takes the right to reject; who made the edit takes it back with the right to edit."""
    edit = LetterEdit.objects.filter(pk=edit_id).first()
    is_own = edit is not None and editing.is_same_person(edit.edited_by, caller_of(request))
    require(request, "dead_letters.edit" if is_own else "dead_letters.reject")
    why = body.read(request, ReasonIn, may_be_empty=True)
    try:
        return answer(documents.of_edit(editing.reject(edit_id, rejected_by=caller_of(request), reason=why.reason)))
    except LetterEdit.DoesNotExist:
        raise _no_edit(edit_id) from None


def _no_edit(edit_id: UUID) -> Http404:
    return Http404(f"there is no edit {edit_id}")
