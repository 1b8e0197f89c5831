"""/dead-letters/groups: what failed in the same way, and what people note about it."""

from typing import Annotated
from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import AwareDatetime, BaseModel, Field
from typing_extensions import TypedDict

from tasks.dead_letters import documents, groups
from tasks.dead_letters.documents import GroupOut
from tasks.errors import InvalidChange
from tasks.http import body
from tasks.http.access import allowed, caller_of, require
from tasks.http.schemas import answer
from tasks.models import FailureGroup

router = Router(tags=["dead letters"])

_CALLED = {"until": "snoozed_until", "release": "fixed_in_release"}  # what the services call by their own words


class GroupsOut(TypedDict):
    items: list[GroupOut]
    next: Annotated[str | None, Field(description="The address of what follows; null at the end.")]


class GroupsQuery(BaseModel):
    status: groups.Status | None = Field(None, description="Without one: those that want somebody.")
    task: str = Field("", max_length=200)
    limit: int = Field(50, ge=1, le=groups.MAX_LISTED - 1)
    offset: int = Field(0, ge=0, le=100_000)


class GroupChangeIn(BaseModel, extra="forbid"):
    """What is given is set; "" and null clear."""

    owner: str | None = None
    note: str | None = None
    runbook_url: str | None = None
    snoozed_until: AwareDatetime | None = None
    fixed_in_release: str | None = None


@router.get(
    "/dead-letters/groups", response=GroupsOut, auth=allowed("dead_letters.view"), summary="List failure groups"
)
def list_groups(request: HttpRequest, asked: Query[GroupsQuery]) -> HttpResponse:
    """The latest failure first."""
    found = groups.summaries(status=asked.status, task=asked.task, limit=asked.limit + 1, offset=asked.offset)
    following = None
    if len(found) > asked.limit:
        query = request.GET.copy()
        query["offset"] = str(asked.offset + asked.limit)
        following = f"{request.path}?{query.urlencode()}"
    return answer({"items": [documents.of_group(each) for each in found[: asked.limit]], "next": following})


@router.get(
    "/dead-letters/groups/{uuid:group_id}",
    response=GroupOut,
    auth=allowed("dead_letters.view"),
    summary="Read a failure group",
)
def read_group(request: HttpRequest, group_id: UUID) -> HttpResponse:
    return answer(documents.of_group(_summary(group_id)))


@router.patch(
    "/dead-letters/groups/{uuid:group_id}",
    response=GroupOut,
    auth=allowed("dead_letters.view"),
    summary="Note, snooze or mark a failure group fixed",
    openapi_extra=body.documented(GroupChangeIn),
)
def change_group(request: HttpRequest, group_id: UUID) -> HttpResponse:
    """Each field takes the right to what it does. All of them are set, or none."""
    change = body.read(request, GroupChangeIn)
    given, who = change.model_fields_set, caller_of(request)
    noted = {name: getattr(change, name) or "" for name in ("owner", "note", "runbook_url") if name in given}
    verbs = {
        "groups.note": bool(noted),
        "groups.snooze": "snoozed_until" in given,
        "groups.fix": "fixed_in_release" in given,
    }
    require(request, *(verb for verb, is_asked in verbs.items() if is_asked))
    try:
        with transaction.atomic():
            if noted:
                groups.note(group_id, requested_by=who, **noted)
            if verbs["groups.snooze"]:
                groups.snooze(group_id, until=change.snoozed_until, requested_by=who)
            if verbs["groups.fix"]:
                groups.fix(group_id, release=change.fixed_in_release or "", requested_by=who)
    except FailureGroup.DoesNotExist:
        raise _no_group(group_id) from None
    except InvalidChange as error:
        faults = [{**each, "field": _CALLED.get(each["field"], each["field"])} for each in error.problems]
        raise InvalidChange(faults) from None
    return answer(documents.of_group(_summary(group_id)))


def _summary(group_id: UUID) -> groups.Summary:
    try:
        return groups.summary(group_id)
    except FailureGroup.DoesNotExist:
        raise _no_group(group_id) from None


def _no_group(group_id: UUID) -> Http404:
    return Http404(f"there is no failure group {group_id}")
