"""How outcomes become deliveries: the history is the outbox, and a chore of the workers reads it.

Whoever records an outcome appends a JobEvent anyway, so nothing is added to that path. Here the events are read in the
order of their numbers, by one worker at a time, and deliveries are made in the transaction that notes how far it came:
each event is told once, whatever is killed meanwhile.

Numbers are given out before transactions commit, so a lower one can appear after a higher one was read. Hence three
positions. ``read_to``: read once, at once, so that nobody waits. ``settled_to``: read again when no transaction was
left that could still add an event up to there. ``mark``: the next end of the settled part, which waits for the
``writers`` that were at work when it was set (tasks.history).
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Max, Q

from tasks import history
from tasks.dead_letters.masking import Mask, mask_of
from tasks.models import UNFINISHED, Batch, Job, JobEvent, WebhookCursor, WebhookDelivery, WebhookEndpoint
from tasks.registry import registry
from tasks.webhooks import delivery, messages
from tasks.webhooks.messages import TYPE_OF, Event

MOST_EVENTS = 200
MOST_NUMBERS = 20_000
BUDGET_SECONDS = 0.5


@dataclass(frozen=True)
class _Page:
    """Outcomes with a number above the last page's, and up to ``end``."""

    events: Sequence[JobEvent]
    end: int


@dataclass(frozen=True)
class _Step:
    """How many deliveries were made, and whether there is more to read at once."""

    made: int = 0
    more: bool = False

    def __add__(self, other: "_Step") -> "_Step":
        return _Step(self.made + other.made, self.more or other.more)


def advance(*, budget_seconds: float = BUDGET_SECONDS) -> int:
    """Make the deliveries of what has happened since, for about ``budget_seconds``. How many were made.

    Without a live endpoint it costs one query. It never waits: where another worker reads, it does nothing.
    """
    made, end = 0, time.monotonic() + budget_seconds
    while True:
        step = _step()
        made += step.made
        if not step.more or time.monotonic() >= end:
            return made


def _step() -> _Step:
    """A page of what is new, and one of what is to be settled: where there is always something new, both go on."""
    if not WebhookEndpoint.objects.filter(disabled_at=None).exists():
        return _Step()
    with transaction.atomic():
        cursor = _hold_cursor()
        if cursor is None:
            return _Step()
        endpoints = list(WebhookEndpoint.objects.filter(disabled_at=None).order_by("pk"))
        if not endpoints:
            return _Step()
        floor = min(endpoint.after_event for endpoint in endpoints)
        cursor.read_to, cursor.settled_to = max(cursor.read_to, floor), max(cursor.settled_to, floor)
        step = _read_new(cursor, endpoints) + _settle(cursor, endpoints)
        cursor.save()
        return step


def _read_new(cursor: WebhookCursor, endpoints: Sequence[WebhookEndpoint]) -> _Step:
    newest = history.newest_event()
    if newest <= cursor.read_to:
        return _Step()
    # Asked in this order: who is not at work now has committed, and what it added is seen by the page.
    is_settled = cursor.settled_to == cursor.read_to and not history.writers()
    page = _page(cursor.read_to, newest, endpoints)
    cursor.read_to = page.end
    if is_settled:
        cursor.settled_to = page.end
    return _Step(_tell(page, endpoints), more=page.end < newest)


def _settle(cursor: WebhookCursor, endpoints: Sequence[WebhookEndpoint]) -> _Step:
    if cursor.settled_to >= cursor.read_to:
        return _Step()
    if cursor.mark <= cursor.settled_to:
        cursor.mark, cursor.writers = cursor.read_to, history.writers()
    if cursor.writers:
        cursor.writers = sorted(set(cursor.writers).intersection(history.writers()))
        if cursor.writers:
            return _Step()
    page = _page(cursor.settled_to, cursor.mark, endpoints)
    cursor.settled_to = page.end
    return _Step(_tell(page, endpoints), more=page.end < cursor.mark)


def _hold_cursor() -> WebhookCursor | None:
    """The one row, held; None where another worker holds it."""
    cursors = WebhookCursor.objects.select_for_update(skip_locked=True, no_key=True)
    cursor = cursors.first()
    if cursor is None and not WebhookCursor.objects.exists():
        WebhookCursor.objects.bulk_create([WebhookCursor()], ignore_conflicts=True)
        cursor = cursors.first()
    return cursor


def _page(after: int, up_to: int, endpoints: Sequence[WebhookEndpoint]) -> _Page:
    end = min(up_to, after + MOST_NUMBERS)  # the outcomes among them may be few, and the numbers in between many
    found = JobEvent.objects.filter(_wanted(endpoints), id__gt=after, id__lte=end)
    events = list(
        found.exclude(job__task__in=registry.names_of(delivery.TASK))  # else each would make the next
        .select_related("job")
        .defer("job__payload", "job__result", "job__error")
        .order_by("id")[:MOST_EVENTS]
    )
    return _Page(events, events[-1].pk if len(events) == MOST_EVENTS else end)


def _wanted(endpoints: Sequence[WebhookEndpoint]) -> Q:
    """What any of them may want, roughly: who wants what exactly is decided for each event."""
    asked = {event for endpoint in endpoints for event in endpoint.events}
    wanted = Q(kind__in=[kind for kind, type in TYPE_OF.items() if type in asked])
    if Event.BATCH_FINISHED in asked:
        wanted |= Q(kind__in=list(TYPE_OF), job__batch__isnull=False)
    if all(endpoint.owner for endpoint in endpoints):
        owners = {endpoint.owner for endpoint in endpoints}
        wanted &= Q(job__requested_by__in=owners) | Q(job__batch__requested_by__in=owners)
    return wanted


def _tell(page: _Page, endpoints: Sequence[WebhookEndpoint]) -> int:
    new = [*_of_jobs(page.events, endpoints), *_of_batches(page, endpoints)]
    told = set(
        WebhookDelivery.objects.filter(key__in={each.key for each in new}).values_list("endpoint_id", "key")
    )  # the first time that it was read
    new = [each for each in new if (each.endpoint.pk, each.key) not in told]
    return len(delivery.enqueue(new)) if new else 0


def _of_jobs(events: Iterable[JobEvent], endpoints: Sequence[WebhookEndpoint]) -> Iterable[delivery.New]:
    for event in events:
        for endpoint in endpoints:
            if wants(endpoint, event):
                yield delivery.New(
                    endpoint=endpoint,
                    key=str(event.pk),
                    message=messages.of_job(event, _mask(endpoint, event)),
                    correlation_id=event.job.correlation_id,
                    about=str(event.job_id),
                )


def _mask(endpoint: WebhookEndpoint, event: JobEvent) -> Mask | None:
    """What keeps from an endpoint that hears of everybody's jobs what others have sent as a secret. Most outcomes say
    nothing that could quote a payload, which then need not be read."""
    quotes = event.kind == JobEvent.Kind.DEAD or event.job.metadata
    return mask_of(event.job) if quotes and endpoint.owner == "" else None


def wants(endpoint: WebhookEndpoint, event: JobEvent) -> bool:
    """Whether ``endpoint`` is told of ``event``, which ended its job."""
    return (
        TYPE_OF[event.kind] in endpoint.events
        and event.pk > endpoint.after_event
        and endpoint.owner in ("", event.job.requested_by)
        and (not endpoint.tasks or any(event.job.task in registry.names_of(name) for name in endpoint.tasks))
    )


def _of_batches(page: _Page, endpoints: Sequence[WebhookEndpoint]) -> Iterable[delivery.New]:
    """Of each batch that has ended, with the last of its outcomes: so it is told once, and once more for each time
    that a replay or a late job made it unfinished and it ended again."""
    asking = [endpoint for endpoint in endpoints if Event.BATCH_FINISHED in endpoint.events]
    last = {event.job.batch_id: event for event in page.events if event.job.batch_id} if asking else {}
    if not last:
        return
    ended = set(last) - set(Job.objects.filter(UNFINISHED, batch__in=last).values_list("batch", flat=True))
    later = _latest_outcomes(ended, after=page.events[0].pk)
    batches = Batch.objects.in_bulk([id for id in ended if later.get(id) == last[id].pk])
    counts = _counts(batches)
    for id, batch in batches.items():
        event = last[id]
        for endpoint in asking:
            if event.pk > endpoint.after_event and endpoint.owner in ("", batch.requested_by):
                message = messages.of_batch(batch, counts[id], event.at)
                yield delivery.New(endpoint=endpoint, key=f"{id}:{event.pk}", message=message, about=str(id))


def _latest_outcomes(batches: Iterable[UUID], *, after: int) -> dict[UUID, int]:
    """By batch, the number of its latest outcome from ``after`` on: one that another page has yet to come to, say."""
    outcomes = JobEvent.objects.filter(id__gte=after, kind__in=list(TYPE_OF), job__batch__in=list(batches)).order_by()
    return dict(outcomes.values_list("job__batch").annotate(latest=Max("id")))


def _counts(batches: Iterable[UUID]) -> dict[UUID, dict[str, int]]:
    """By batch, how many of its jobs are in each state; states without a job are left out."""
    counts: dict[UUID, dict[str, int]] = {id: {} for id in batches}
    jobs = Job.objects.filter(batch__in=counts).order_by()
    for id, state, found in jobs.values_list("batch", "state").annotate(found=Count("pk")):
        counts[id][state] = found
    return counts
