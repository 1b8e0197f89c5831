"""Whose rows a caller sees: those they asked for themselves, unless they may see everybody's.

The owner of a job or a batch is its ``requested_by``. What is somebody else's is not found, rather than forbidden: an
answer that tells the two apart tells which ids exist.
"""

from typing import TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from ninja.errors import AuthorizationError

from tasks.http.access import caller_of, is_person, may

Row = TypeVar("Row", bound=Model)


def visible(request: HttpRequest, rows: QuerySet[Row]) -> QuerySet[Row]:
    """Those of ``rows``, anything with a ``requested_by``, that the caller may see."""
    return rows if may(request, "jobs.view_all") else rows.filter(requested_by=caller_of(request))


def require_view(request: HttpRequest, model: type[Model]) -> None:
    """What a job has made has a permission of its own, which staff need here as they do in the admin.

    Raises AuthorizationError.
    """
    meta = model._meta
    if is_person(request) and not request.user.has_perm(f"{meta.app_label}.view_{meta.model_name}"):
        named = meta.verbose_name_plural
        raise AuthorizationError(message=f"You may not see {named}: ask for the permission to view {named}.")
