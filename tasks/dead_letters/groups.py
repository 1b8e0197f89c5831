"""Groups of dead letters that failed in the same way: the list of them, and what people note about each.

All numbers are read from the letters' indexes. Nothing here is written by a worker that fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import models, transaction
from django.db.models import DateTimeField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Greatest, TruncHour
from django.utils import timezone

from tasks import audit
from tasks.dead_letters import search
from tasks.errors import InvalidChange
from tasks.models import DeadLetter, FailureGroup, Release

TREND_HOURS = 24
MAX_LISTED = 200

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Status(models.TextChoices):
    """What a group wants of people."""

    OPEN = "open", "Open"
    REOPENED = "reopened", "Back, though fixed"
    SNOOZED = "snoozed", "Snoozed"
    FIXED = "fixed", "Fixed"


@dataclass(frozen=True)
class Summary:
    """A group as a list shows it."""

    group: FailureGroup
    status: Status
    open: search.Count
    total: search.Count
    last_seen_at: datetime | None
    """When its latest letter died; None once all were deleted."""
    trend: tuple[int, ...]
    """Letters in each of the latest TREND_HOURS hours, counted back from now; the last hour stands last."""
    sample: UUID | None
    """Its latest letter, an open one where there is one."""

    @property
    def is_rising(self) -> bool:
        """Whether the last hour had more than the hour before."""
        return self.trend[-1] > self.trend[-2]


def status_of(group: FailureGroup, now: datetime) -> Status:
    """A fix that did not hold goes before everything else, and a snooze before a fix that still does."""
    if group.reopened_at is not None:
        return Status.REOPENED
    if group.snoozed_until is not None and group.snoozed_until > now:
        return Status.SNOOZED
    return Status.FIXED if group.fixed_in_release else Status.OPEN


def summaries(
    *, status: Status | None = None, task: str = "", limit: int = 50, offset: int = 0, now: datetime | None = None
) -> list[Summary]:
    """Groups with the latest failure first; of ``task`` alone where one is given. Without ``status`` those that want
    somebody: open or reopened, with a letter that is open. ``limit`` is at most MAX_LISTED."""
    now = now or timezone.now()
    found = FailureGroup.objects.filter(_that_are(status, now))
    if task:
        found = found.filter(task=task)
    if status is None:
        found = found.filter(Exists(DeadLetter.objects.filter(group=OuterRef("pk"), state=DeadLetter.State.OPEN)))
    latest = found.annotate(last_seen=_last_seen()).order_by("-last_seen", "pk")
    return _summed_up(list(latest[offset : offset + min(limit, MAX_LISTED)]), now)


def summary(group_id: UUID, *, now: datetime | None = None) -> Summary:
    """One group as the list shows it. Raises FailureGroup.DoesNotExist."""
    group = FailureGroup.objects.annotate(last_seen=_last_seen()).get(pk=group_id)
    return _summed_up([group], now or timezone.now())[0]


def reopened() -> list[FailureGroup]:
    """The alerts: groups that came back in a release that was to have the fix, the latest first. Each stays until
    somebody marks another fix, or takes the mark back."""
    return list(FailureGroup.objects.filter(reopened_at__isnull=False).order_by("-reopened_at")[:MAX_LISTED])


def note(
    group_id: UUID,
    *,
    requested_by: str,
    owner: str | None = None,
    note: str | None = None,
    runbook_url: str | None = None,
) -> FailureGroup:
    """Set what is given; "" clears. Raises InvalidChange, and FailureGroup.DoesNotExist."""
    problems = []
    if owner is not None and len(owner) > 200:
        problems.append({"field": "owner", "message": "is longer than 200 characters; shorten it"})
    if runbook_url and not _is_web_address(runbook_url):
        problems.append({"field": "runbook_url", "message": "is no address; write https://…, 500 characters at most"})
    given = {"owner": owner, "note": note, "runbook_url": runbook_url}
    problems += [
        {"field": name, "message": "holds a NUL character; leave it out"}
        for name, text in given.items()
        if text and "\0" in text
    ]
    if problems:
        raise InvalidChange(problems)
    return _change(group_id, "note", requested_by, {name: text for name, text in given.items() if text is not None})


def snooze(group_id: UUID, *, until: datetime | None, requested_by: str) -> FailureGroup:
    """Keep the group off the list of those that want somebody; None ends that. Should a fix of it not hold, it is back
    all the same. Raises InvalidChange, and FailureGroup.DoesNotExist."""
    if until is not None and until <= timezone.now():
        raise InvalidChange([{"field": "until", "message": "is past; give a moment to come"}])
    return _change(group_id, "snooze", requested_by, {"snoozed_until": until})


def fix(group_id: UUID, *, release: str, requested_by: str) -> FailureGroup:
    """Mark the group fixed in ``release``, which may still be to come; "" takes the mark back. From now on its letters
    of older releases are quiet, and one of this release or a later one reopens it (regressions.py).

    Raises InvalidChange when no worker has ever told its release, since nothing would reopen the group then; and
    FailureGroup.DoesNotExist.
    """
    release = release.strip()
    problem = ""
    if len(release) > 100 or "\0" in release:
        problem = "is longer than 100 characters, or holds a NUL; give the RELEASE that the workers will have"
    elif release and not Release.objects.exists():
        problem = "can not be told from others: set RELEASE for the workers, so that letters tell their build"
    if problem:
        raise InvalidChange([{"field": "release", "message": problem}])
    at = timezone.now() if release else None
    return _change(group_id, "fix", requested_by, {"fixed_in_release": release, "fixed_at": at, "reopened_at": None})


def _change(group_id: UUID, verb: str, requested_by: str, values: dict[str, Any]) -> FailureGroup:
    with transaction.atomic():
        group = FailureGroup.objects.select_for_update(no_key=True).get(pk=group_id)
        for name, value in values.items():
            setattr(group, name, value)
        group.save(update_fields=list(values))
        audit.record(requested_by, f"groups.{verb}", group_id, detail=values)
    return group


def _is_web_address(text: str) -> bool:
    try:
        URLValidator(schemes=["http", "https"])(text)
    except ValidationError:
        return False
    return len(text) <= 500


def _that_are(status: Status | None, now: datetime) -> Q:
    """As ``status_of`` has it."""
    back, asleep, fixed = Q(reopened_at__isnull=False), Q(snoozed_until__gt=now), ~Q(fixed_in_release="")
    awake = Q(snoozed_until=None) | Q(snoozed_until__lte=now)
    match status:
        case None:
            return back | (awake & ~fixed)
        case Status.REOPENED:
            return back
        case Status.SNOOZED:
            return ~back & asleep
        case Status.FIXED:
            return ~back & awake & fixed
        case _:
            return ~back & awake & ~fixed


def _last_seen() -> Greatest:
    """One look into the index of (group, state, died_at) for each state, however many letters there are."""
    each = [
        Coalesce(Subquery(_newest(OuterRef("pk"), state).values("died_at")[:1]), Value(_LONG_AGO))
        for state in DeadLetter.State
    ]
    return Greatest(*each)


def _newest(group: Any, state: str) -> QuerySet[DeadLetter]:
    return DeadLetter.objects.filter(group=group, state=state).order_by("-died_at")


def _summed_up(groups: Sequence[FailureGroup], now: datetime) -> list[Summary]:
    ids = [group.pk for group in groups]
    sums, trends = _sums(ids), _trends(ids, now)
    return [
        Summary(
            group=group,
            status=status_of(group, now),
            open=_count(sums[group.pk]["open"]),
            total=_count(sums[group.pk]["total"]),
            last_seen_at=None if group.last_seen == _LONG_AGO else group.last_seen,  # type: ignore[attr-defined]
            trend=trends[group.pk],
            sample=sums[group.pk]["sample"],
        )
        for group in groups
    ]


class _Rows(Subquery):
    """How many rows a subquery has."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = models.IntegerField()


def _sums(ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """One statement for a page. What is counted is cut off past search.MAX_COUNTED for each group."""
    letters = DeadLetter.objects.filter(group=OuterRef("pk")).order_by()
    opened = letters.filter(state=DeadLetter.State.OPEN)
    newest = [Subquery(_newest(OuterRef("pk"), state).values("pk")[:1]) for state in DeadLetter.State]
    found = FailureGroup.objects.filter(pk__in=ids).annotate(
        open=_Rows(opened.values("state")[: search.MAX_COUNTED + 1]),
        total=_Rows(letters.values("state")[: search.MAX_COUNTED + 1]),
        sample=Coalesce(*newest),
    )
    return {row["pk"]: dict(row) for row in found.values("pk", "open", "total", "sample")}


def _count(number: int) -> search.Count:
    return search.Count(min(number, search.MAX_COUNTED), is_capped=number > search.MAX_COUNTED)


def _trends(ids: Sequence[UUID], now: datetime) -> dict[UUID, tuple[int, ...]]:
    """Letters an hour, of hours that end now: those of the clock would set a begun hour against a whole one. So the
    moments are moved on until now is a full hour."""
    full = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    moved = ExpressionWrapper(F("died_at") + (full - now), output_field=DateTimeField())
    letters = DeadLetter.objects.filter(
        group__in=ids, state__in=DeadLetter.State.values, died_at__gt=now - timedelta(hours=TREND_HOURS)
    )
    counted = letters.order_by().values("group", hour=TruncHour(moved, tzinfo=UTC)).annotate(count=models.Count("pk"))
    found = {(row["group"], row["hour"]): row["count"] for row in counted}
    hours = [full - timedelta(hours=ago) for ago in range(TREND_HOURS, 0, -1)]
    trends = {id: [found.get((id, hour), 0) for hour in hours] for id in ids}
    for id in ids:
        trends[id][-1] += found.get((id, full), 0)  # by a clock that is ahead of ours
    return {id: tuple(trend) for id, trend in trends.items()}
