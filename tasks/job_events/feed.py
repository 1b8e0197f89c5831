"""From the history to a sink: each change at least once, those of one job in their order.

One worker at a time reads for a sink, holding its cursor. ``read_to`` is the highest number it has read. Numbers below
that which were not there then may belong to transactions that had not committed: these are its gaps, each with the
``writers`` that were at work when it was found. They are read again with every page, in the same statement, so that a
job's earlier event is never told after a later one; and forgotten once the writers have ended and one more look has
been taken. The cursor moves after the sink has all of a page: a death in between tells that page again, under the same
ids.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, Protocol

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from tasks import history
from tasks.job_events.messages import JobEventMessage, of
from tasks.models import JobEvent, JobEventCursor

PAGE = 500
BUDGET_SECONDS = 0.4
MOST_GAPS = 1000
"""Beyond so many, reading waits for transactions to end: each gap makes the next statement longer."""

Range = tuple[int, int]


class Sink(Protocol):
    """Where events go. Its name is the cursor's."""

    name: str

    def send(self, messages: Sequence[JobEventMessage]) -> None:
        """Deliver all of them, in this order, and return when they are safe. Raises BrokerUnavailable, and any may have
        been delivered then."""


def advance(sink: Sink, *, budget_seconds: float = BUDGET_SECONDS) -> int:
    """Tell ``sink`` what has happened since, for about ``budget_seconds``. How many events it was told.

    A sink that is new hears of what happens from now on. Raises what the sink does.
    """
    told, end = 0, time.monotonic() + budget_seconds
    while True:
        heard, more = _step(sink)
        told += heard
        if not more or time.monotonic() >= end:
            return told


def lag(name: str) -> tuple[int, datetime | None]:
    """Events that the sink has not been told, at most, and when the oldest of them happened."""
    cursor = JobEventCursor.objects.filter(pk=name).first()
    if cursor is None:
        return 0, None
    waiting = JobEvent.objects.filter(id__gt=cursor.read_to)
    return waiting.count(), waiting.order_by("id").values_list("at", flat=True).first()


def _step(sink: Sink) -> tuple[int, bool]:
    """How many events of a page were told, and whether there is more to read at once."""
    with transaction.atomic():
        cursor = _hold(sink.name)
        if cursor is None:
            return 0, False
        gaps = [(gap["first"], gap["last"]) for gap in cursor.gaps]
        events = _page(cursor.read_to, gaps, more=len(gaps) < MOST_GAPS)
        at_work = history.writers()  # after the page: who has ended by now has shown all of it, or shows it next time
        messages = [message for event in events if (message := of(event))]
        if messages:
            sink.send(messages)
            cursor.told_at = timezone.now()
        before = cursor.read_to, cursor.gaps
        _move(cursor, [event.pk for event in events], at_work)
        if (cursor.read_to, cursor.gaps) != before or messages:
            cursor.save()
    return len(messages), len(events) == PAGE


def _hold(name: str) -> JobEventCursor | None:
    """The sink's cursor, held; None where another worker holds it."""
    cursors = JobEventCursor.objects.select_for_update(skip_locked=True, no_key=True).filter(pk=name)
    cursor = cursors.first()
    if cursor is None and not JobEventCursor.objects.filter(pk=name).exists():
        new = JobEventCursor(sink=name, read_to=history.newest_event())
        JobEventCursor.objects.bulk_create([new], ignore_conflicts=True)
        cursor = cursors.first()
    return cursor


def _page(read_to: int, gaps: Iterable[Range], *, more: bool) -> list[JobEvent]:
    wanted = [Q(id__gte=first, id__lte=last) for first, last in gaps]
    wanted += [Q(id__gt=read_to)] if more else []
    found = JobEvent.objects.filter(reduce(or_, wanted))
    return list(found.select_related("job").defer("job__payload", "job__result").order_by("id")[:PAGE])


def _move(cursor: JobEventCursor, seen: Sequence[int], at_work: Sequence[str]) -> None:
    """Past the page. What is not there of the numbers below it becomes, or stays, a gap."""
    whole = len(seen) < PAGE  # else gaps above the last one seen have not been looked at
    looked_to = cursor.read_to if whole else min(cursor.read_to, seen[-1])
    gaps: list[dict[str, Any]] = []
    for gap in cursor.gaps:
        for first, last in _without(gap["first"], gap["last"], seen):
            if first > looked_to:
                gaps.append({**gap, "first": first, "last": last})
            elif gap["writers"]:
                gaps.append({"first": first, "last": last, "writers": sorted({*gap["writers"]} & {*at_work})})
            # None was left when the page was read: this was the look after their end.
    new = [number for number in seen if number > cursor.read_to]
    if new:
        writers = sorted(at_work)
        missing = _without(cursor.read_to + 1, new[-1], new)
        gaps += [{"first": first, "last": last, "writers": writers} for first, last in missing]
        cursor.read_to = new[-1]
    cursor.gaps = gaps


def _without(first: int, last: int, seen: Iterable[int]) -> Iterator[Range]:
    """The parts of ``first`` to ``last`` that have none of ``seen``, which are in order."""
    for number in seen:
        if first <= number <= last:
            if number > first:
                yield first, number - 1
            first = number + 1
    if first <= last:
        yield first, last
