"""The one way a job changes its state: compare-and-set on (id, state, attempt), its event in the same transaction."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from tasks.models import Job, JobEvent
from tasks.states import FINAL, LEGAL_CHANGES, JobState

_ANY = Q()


def change(
    job_id: UUID,
    *,
    source: JobState | Iterable[JobState],
    target: JobState,
    attempt: int | None = None,
    burn: bool = False,
    kind: str | None = None,
    detail: dict[str, Any] | None = None,
    **values: Any,
) -> bool:
    """Move the job from ``source`` to ``target``; False, and nothing changed, when somebody else was first.

    ``attempt`` fences: the job must still be at it. ``burn`` uses up the next number as well: a message may bear it
    that must not count any more. ``values`` are further columns to set, ``kind`` and ``detail`` the event, which is
    called like the target unless told otherwise. ValueError for a change that is never legal.
    """
    sources = {source} if isinstance(source, JobState) else set(source)
    _check_legal(sources, target)
    if target in FINAL:
        values.setdefault("finished_at", Now())
    fence = {} if attempt is None else {"attempt": attempt}
    if burn:
        values["attempt"] = F("attempt") + 1
    with transaction.atomic():
        if not Job.objects.filter(pk=job_id, state__in=sources, **fence).update(state=target, **values):
            return False
        at = Job.objects.values_list("attempt", flat=True).get(pk=job_id) if attempt is None else attempt + burn
        JobEvent.objects.create(job_id=job_id, kind=kind or target, attempt=at, detail=detail or {})
    return True


def change_all(
    job_ids: Sequence[UUID],
    *,
    source: JobState,
    target: JobState,
    burn: bool = False,
    kind: str | None = None,
    detail: dict[str, Any] | None = None,
    where: Q = _ANY,
    **values: Any,
) -> list[Job]:
    """Move those of the jobs that are in ``source`` and fit ``where`` from there to ``target``, as ``change`` does,
    with four statements for all. They are returned as they were, with their id, state, attempt and due_at only.

    Nobody waits: a job whose row another transaction holds, a worker's that claims it say, is not moved.
    """
    _check_legal({source}, target)
    if target in FINAL:
        values.setdefault("finished_at", Now())
    if burn:
        values["attempt"] = F("attempt") + 1
    with transaction.atomic():
        free = Job.objects.filter(where, pk__in=job_ids, state=source).select_for_update(skip_locked=True, no_key=True)
        jobs = list(free.order_by("pk").only("state", "attempt", "due_at"))
        Job.objects.filter(pk__in=[job.pk for job in jobs], state=source).update(state=target, **values)
        JobEvent.objects.bulk_create(
            JobEvent(job_id=job.pk, kind=kind or target, attempt=job.attempt + burn, detail=detail or {})
            for job in jobs
        )
    return jobs


def _check_legal(sources: Iterable[JobState], target: JobState) -> None:
    for state in sources:
        if target not in LEGAL_CHANGES[state]:
            raise ValueError(f"a {state} job never becomes {target}")
