"""/dead-letters/groups: what failed in the same way, and what people note about it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import AwareDatetime, BaseModel, Field
from typing_extensions import TypedDict

from tasks.dead_letters import groups
from tasks.http import body
from tasks.http.access import allowed, require
from tasks.http.dead_letters import CountOut
from tasks.http.schemas import answer
from tasks.models import FailureGroup

router = Router(tags=["dead letters"])


class GroupOut(TypedDict):
    id: UUID
    status: str
    task: str
    reason: str
    error_type: str
    message: Annotated[str, Field(description="The error without what differs from one failure to the next.")]
    frame: Annotated[str, Field(description="The innermost line of your own code.")]
    open: CountOut
    total: CountOut
    first_seen_at: datetime
    last_seen_at: datetime | None
    trend: Annotated[list[int], Field(description="Letters in each of the latest 24 hours; the last stands last.")]
    sample: Annotated[UUID | None, Field(description="Its latest letter.")]
    owner: str
    note: str
    runbook_url: str
    snoozed_until: datetime | None
    fixed_in_release: str
    fixed_at: datetime | None
    reopened_at: datetime | None


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
    return answer({"items": [shown(each) for each in found[: asked.limit]], "next": following})


@router.get(
    "/dead-letters/groups/{uuid:group_id}",
    response=GroupOut,
    auth=allowed("dead_letters.view"),
    summary="Read a failure group",
)
def read_group(request: HttpRequest, group_id: UUID) -> HttpResponse:
    return answer(shown(_summary(group_id)))


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
    given, who = change.model_fields_set, request.auth  # type: ignore[attr-defined]  # set by ninja
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
    return answer(shown(_summary(group_id)))


def shown(summary: groups.Summary) -> GroupOut:
    group = summary.group
    return {
        "id": group.id,
        "status": summary.status,
        "task": group.task,
        "reason": group.reason,
        "error_type": group.error_type,
        "message": group.message,
        "frame": group.frame,
        "open": {"number": summary.open.number, "is_capped": summary.open.is_capped},
        "total": {"number": summary.total.number, "is_capped": summary.total.is_capped},
        "first_seen_at": group.first_seen_at,
        "last_seen_at": summary.last_seen_at,
        "trend": list(summary.trend),
        "sample": summary.sample,
        "owner": group.owner,
        "note": group.note,
        "runbook_url": group.runbook_url,
        "snoozed_until": group.snoozed_until,
        "fixed_in_release": group.fixed_in_release,
        "fixed_at": group.fixed_at,
        "reopened_at": group.reopened_at,
    }


def _summary(group_id: UUID) -> groups.Summary:
    try:
        return groups.summary(group_id)
    except FailureGroup.DoesNotExist:
        raise _no_group(group_id) from None


def _no_group(group_id: UUID) -> Http404:
    return Http404(f"there is no failure group {group_id}")
