"""Dead letters that match what an operator asks for.

PostgreSQL has an index for each part of a query (migration 0005); SQLite reads its rows, and finds words in the middle
of others as well.
"""

import json
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from django.db import connection
from django.db.models import BooleanField, F, Func, JSONField, Q, QuerySet, TextField, Value
from django.db.models.lookups import Exact, In
from django.utils import timezone

from tasks.dead_letters.query import ANY_STATE, Place, Query, read
from tasks.models import DeadLetter
from tasks.registry import registry

MAX_COUNTED = 10_000
MAX_COUNTED_WITH_WORDS = 1_000
"""Whether a letter has a word that most of them have, no index says cheaply: 60 µs each."""
HEAVY_COLUMNS = ("body", "headers", "properties", "traceback", "evidence", "payload")
"""What a list of letters does not show, and need not load: `letters(query).defer(*HEAVY_COLUMNS)`."""


Path = tuple[str | int, ...]
"""Keys, and places in lists."""


@dataclass(frozen=True)
class Count:
    """How many there are; with ``is_capped``, more than that."""

    number: int
    is_capped: bool = False

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.is_capped else ''}"


def letters(query: str | Mapping[str, Any], *, state: str = DeadLetter.State.OPEN) -> QuerySet[DeadLetter]:
    """The letters that match ``query``, as ``query.read`` understands it, newest first. A state in the query goes
    before ``state``; "all", or "", means any. Raises InvalidQuery."""
    asked = read(query, now=timezone.now())
    state = asked.state or state or ANY_STATE
    found = DeadLetter.objects.filter(*_conditions(asked)).order_by("-id")
    return found if state == ANY_STATE else found.filter(state=state)


def how_many(query: str | Mapping[str, Any], *, state: str = DeadLetter.State.OPEN) -> Count:
    """How many ``letters`` would find, counted no further than a page can wait for. Raises InvalidQuery."""
    has_words = bool(read(query, now=timezone.now()).words)
    return count(letters(query, state=state), cap=MAX_COUNTED_WITH_WORDS if has_words else MAX_COUNTED)


def count(found: QuerySet[DeadLetter], *, cap: int = MAX_COUNTED) -> Count:
    """How many ``found`` has, counted no further than ``cap``: its price does not grow with the table."""
    number = found.order_by()[: cap + 1].count()
    return Count(min(number, cap), is_capped=number > cap)


def _conditions(asked: Query) -> list[Any]:
    conditions: list[Any] = []
    if asked.words:
        conditions.append(_has_words(asked.words))
    for id in asked.ids:
        conditions.append(Q(pk=id) | Q(job=id))
    if asked.tasks:
        conditions.append(reduce(operator.or_, map(_of_task, asked.tasks)))
    for column, values in (
        ("queue", asked.queues),
        ("reason", asked.reasons),
        ("group", asked.groups),
        ("release", asked.releases),
    ):
        if values:
            conditions.append(Q(**{f"{column}__in": values}))
    if asked.before:
        conditions.append(Q(died_at__lt=asked.before))
    if asked.after:
        conditions.append(Q(died_at__gte=asked.after))
    conditions += map(_holds, asked.places)
    return conditions


def _of_task(name: str) -> Q:
    """A letter keeps the name that its task had when it died; asked for by one name, it is found under each."""
    if name.endswith("*"):
        return Q(task__startswith=name.removesuffix("*"))
    return Q(task__in=registry.names_of(name))


def _has_words(words: tuple[str, ...]) -> Any:
    """All of them, each as the beginning of a word."""
    if connection.vendor != "postgresql":
        columns = ("task", "error_type", "error")
        anywhere = (reduce(operator.or_, (Q(**{f"{column}__icontains": word}) for column in columns)) for word in words)
        return reduce(operator.and_, anywhere)
    indexed = Func(F("task"), F("error_type"), F("error"), function="tasks_letter_words", output_field=TextField())
    asked = Value(" & ".join(f"'{word}':*" for word in words))  # words have no quote in them: query.py
    parsed = Func(asked, template="to_tsquery('simple', %(expressions)s)", output_field=TextField())
    return Func(indexed, parsed, template="(%(expressions)s)", arg_joiner=" @@ ", output_field=BooleanField())


def _holds(place: Place) -> Any:
    """Whether the payload has one of the values at that place."""
    exact = _exact_on_postgresql if connection.vendor == "postgresql" else _exact_on_sqlite
    either = (exact(path, value) for path in _readings(place.path) for value in place.values)
    return reduce(operator.or_, either)


def _exact_on_postgresql(path: Path, value: Any) -> Q:
    """By containment, which the index knows; what a list contains, it does not know the place of."""
    contains = Q(payload__contains=_nested(path, value))
    if not any(isinstance(step, int) for step in path):
        return contains
    steps = (Value(str(step)) for step in path)
    found = Func(F("payload"), *steps, function="jsonb_extract_path", output_field=JSONField())
    return contains & Q(Exact(found, Value(value, output_field=JSONField())))


def _exact_on_sqlite(path: Path, value: Any) -> Q:
    at = "$" + "".join(f"[{step}]" if isinstance(step, int) else f'."{step}"' for step in path)
    kind = Func(F("payload"), Value(at), function="JSON_TYPE", output_field=TextField())
    if value is None or isinstance(value, bool):
        return Q(Exact(kind, json.dumps(value)))
    found = Func(F("payload"), Value(at), function="JSON_EXTRACT", output_field=TextField())
    kinds = ["text"] if isinstance(value, str) else ["integer", "real"]
    return Q(In(kind, kinds)) & Q(Exact(found, Value(value)))


def _nested(path: Path, value: Any) -> Any:
    for step in reversed(path):
        value = [value] if isinstance(step, int) else {step: value}
    return value


def _readings(path: tuple[str, ...]) -> list[Path]:
    """The path with each of its numbers as a key and as a place in a list."""
    readings: list[Path] = [()]
    for step in path:
        as_what: list[str | int] = [step, int(step)] if re.fullmatch(r"\d{1,9}", step) else [step]
        readings = [(*reading, each) for reading in readings for each in as_what]
    return readings
