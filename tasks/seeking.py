"""Pages by key: each begins where another ended, so the thousandth costs what the first does, and nobody counts.

Called the seek method, or keyset pagination: M. Winand, "SQL Performance Explained", 2012, chapter 7.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)
Item = TypeVar("Item")

MOST_READ = 10_000
"""Rows of an index that one page looks through at most."""


@dataclass(frozen=True)
class Cursor:
    """From where on: the rows after ``key`` in the list's order, or those before it."""

    key: Any
    forward: bool = True


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Rows in the list's order, and where the next and the previous page begin; None where there is none.

    A page may have fewer rows than were asked for, even none, and a next one all the same: then it ends where it had
    looked through MOST_READ rows.
    """

    rows: Sequence[Item]
    next: Cursor | None
    previous: Cursor | None


def page(
    rows: QuerySet[Row],
    *,
    limit: int,
    cursor: Cursor | None = None,
    newest_first: bool = True,
    among: QuerySet[Row] | None = None,
) -> Page[Row]:
    """A page of at most ``limit`` rows, by their primary key.

    ``among`` are rows that an index has in the order of their keys, all of ``rows`` among them. It is for conditions
    that no index knows together: however few rows meet them all, no more than MOST_READ are looked through.
    """
    forward = cursor is None or cursor.forward
    descending = newest_first == forward
    rows = _from(rows, cursor, descending)
    edge = None
    if among is not None:
        edge = _from(among, cursor, descending).values_list("pk", flat=True)[MOST_READ - 1 : MOST_READ].first()
        if edge is not None:
            rows = rows.filter(pk__gte=edge) if descending else rows.filter(pk__lte=edge)
    found = list(rows[: limit + 1])
    more = len(found) > limit
    found = found[:limit]
    # Where the search ends; all of ``among`` up to there was looked through.
    end = found[-1].pk if more else edge
    onward = None if end is None else Cursor(end, forward)
    back = Cursor(found[0].pk, not forward) if cursor and found else None
    if forward:
        return Page(found, next=onward, previous=back)
    return Page(found[::-1], next=back, previous=onward)


def _from(rows: QuerySet[Row], cursor: Cursor | None, descending: bool) -> QuerySet[Row]:
    rows = rows.order_by("-pk" if descending else "pk")
    if cursor is None:
        return rows
    return rows.filter(pk__lt=cursor.key) if descending else rows.filter(pk__gt=cursor.key)
