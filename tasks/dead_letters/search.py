"""Letters by what a person asks for."""

from typing import Any

from django.db.models import QuerySet

from tasks.errors import InvalidQuery
from tasks.models import DeadLetter

FIELDS = ("task", "queue", "reason", "group", "state")


def letters(query: str | dict[str, Any], *, state: str = "open") -> QuerySet[DeadLetter]:
    """The letters in ``state``, unless the query names another. Raises InvalidQuery."""
    asked = dict(part.partition(":")[::2] for part in query.split()) if isinstance(query, str) else query
    problems = [{"field": name, "message": f"is none of {', '.join(FIELDS)}"} for name in asked if name not in FIELDS]
    if problems:
        raise InvalidQuery(problems)
    return DeadLetter.objects.filter(**{"state": state, **asked})
