"""Whose rows a caller sees: those they asked for themselves, unless they may see everybody's.

The owner of a job or a batch is its ``requested_by``. What is somebody else's is not found, rather than forbidden: an
answer that tells the two apart tells which ids exist.
"""

from typing import TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

from tasks.http.access import caller_of, may

Row = TypeVar("Row", bound=Model)


def visible(request: HttpRequest, rows: QuerySet[Row]) -> QuerySet[Row]:
    """Those of ``rows``, jobs or batches, that the caller may see."""
    return rows if may(request, "jobs.view_all") else rows.filter(requested_by=caller_of(request))
