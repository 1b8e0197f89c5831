"""Lists of jobs by whatever people ask for, at a cost that does not grow with history."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from tasks.models import Job
from tasks.moments import least_id_at
from tasks.registry import registry
from tasks.seeking import Cursor, Page, page
from tasks.states import JobState

_ENDED_BADLY = (JobState.DEAD, JobState.CANCELLED)


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """What the jobs of a list have in common; None and "" ask for nothing. ``task`` stands for its earlier names too.

    ``created_after`` and ``created_before`` go by the ids, which hold the clock of the host that made them.
    """

    state: str = ""
    task: str = ""
    queue: str = ""
    batch: UUID | None = None
    correlation_id: str = ""
    requested_by: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None


def list_jobs(filter: JobFilter, *, limit: int, cursor: Cursor | None = None) -> Page[Job]:
    """A page of the jobs, the newest first, without their payloads, results and metadata."""
    few, in_order, others = _conditions(filter)
    rows = _created(filter, Job.objects.defer("payload", "result", "metadata"))
    jobs = rows.filter(*few, *in_order, *others)
    if few or not (in_order[1:] or others):  # an index alone finds them
        return page(jobs, limit=limit, cursor=cursor)
    return page(jobs, limit=limit, cursor=cursor, among=_created(filter, Job.objects.filter(*in_order[:1])))


def _conditions(filter: JobFilter) -> tuple[list[Q], list[Q], list[Q]]:
    """Those whose jobs are few whatever the history, and known to an index; those whose jobs an index has in the order
    of their ids, the rarest first; and those that no index knows."""
    few: list[Q] = []
    in_order: list[Q] = []
    others: list[Q] = []
    if filter.batch:
        few.append(Q(batch=filter.batch))
    if filter.correlation_id:
        few.append(Q(correlation_id=filter.correlation_id))
    if filter.requested_by:
        in_order.append(Q(requested_by=filter.requested_by))
    if filter.state in _ENDED_BADLY:
        in_order.append(Q(state=filter.state))
    elif filter.state == JobState.SUCCEEDED:  # most of all rows, which no index holds
        others.append(Q(state=filter.state))
    elif filter.state:
        # In the words of its partial index.
        waits = filter.state in (JobState.SCHEDULED, JobState.RETRYING)
        few.append(Q(state__in=["scheduled", "retrying"]) & Q(state=filter.state) if waits else Q(state=filter.state))
    if filter.task:
        names = registry.names_of(filter.task)
        (in_order if len(names) == 1 else others).append(Q(task__in=names))
    if filter.queue:
        others.append(Q(queue=filter.queue))
    return few, in_order, others


def _created(filter: JobFilter, rows: QuerySet[Job]) -> QuerySet[Job]:
    if filter.created_after:
        rows = rows.filter(pk__gte=least_id_at(filter.created_after))
    if filter.created_before:
        rows = rows.filter(pk__lt=least_id_at(filter.created_before))
    return rows
