"""What an operation is about: the letters, or jobs, that its query chooses now."""

from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F, QuerySet, UUIDField, Value, Window
from django.db.models.functions import Cast, Coalesce, RowNumber

from tasks import purging
from tasks.dead_letters import search
from tasks.errors import InvalidOperation
from tasks.models import DeadLetter, Job, Operation, OperationItem

Verb = Operation.Verb
State = DeadLetter.State


def chosen(verb: str, query: str | dict[str, Any]) -> QuerySet[DeadLetter] | QuerySet[Job]:
    """The letters of a search; for a purge the jobs of ``{"queue": …, "states": […]}``; and for what undoes another
    operation, ``{"operation": its id}``, those that it discarded or purged.

    Raises InvalidQuery, and InvalidOperation for a verb, queue or operation there is not.
    """
    if verb not in Verb.values:
        raise InvalidOperation([{"field": "verb", "message": f"is one of {', '.join(Verb.values)}; got {verb!r}"}])
    if verb == Verb.PURGE:
        asked = query if isinstance(query, dict) else {"queue": query}
        return purging.waiting(str(asked.get("queue", "")), asked.get("states") or purging.WAITING[:1])
    if verb == Verb.UNPURGE:
        return purging.parked(operation_of(query))
    if verb == Verb.RESTORE and isinstance(query, dict) and "operation" in query:
        return DeadLetter.objects.filter(
            operation_items__operation=operation_of(query),
            operation_items__operation__verb=Verb.DISCARD,
            operation_items__state=OperationItem.State.DONE,
        )
    return search.letters(query, state=State.DISCARDED if verb == Verb.RESTORE else State.OPEN)


def operation_of(query: str | dict[str, Any]) -> UUID:
    """The operation that ``query`` names. Raises InvalidOperation."""
    named = query.get("operation") if isinstance(query, dict) else query
    try:
        return UUID(str(named))
    except ValueError:
        message = f"is the id of an operation, got {named!r}"
        raise InvalidOperation([{"field": "operation", "message": message}]) from None


def freeze(operation: Operation, rows: QuerySet[Any]) -> int:
    """Write the operation's items, one for each of ``rows``, the oldest first, with one statement: what comes later is
    not among them. Returns how many there are."""
    order: list[Any] = [F("pk")]
    columns: tuple[Any, Any, Any] = F("pk"), F("job_id"), F("job__attempt")
    if operation.verb in purging.VERBS:
        columns = Cast(Value(None), UUIDField()), F("pk"), F("attempt")
        order = [F("due_at").asc(nulls_first=True), F("queued_at"), F("pk")]  # what is queued is not due any more
    if operation.verb == Verb.UNPURGE:
        order = [F("parked__place")]
    letter, job, attempt = columns
    named = {
        "frozen_place": Window(RowNumber(), order_by=order) - 1,
        "frozen_letter": letter,
        "frozen_job": job,
        "frozen_attempt": Coalesce(attempt, 0),
    }
    found, values = rows.order_by().annotate(**named).values_list(*named).query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tasks_operationitem (operation_id, state, why, place, letter_id, job_id, attempt) "
            f"SELECT %s, %s, '', {', '.join(named)} FROM ({found}) chosen",
            [Operation._meta.pk.get_db_prep_value(operation.pk, connection), OperationItem.State.PENDING, *values],
        )
        return cursor.rowcount
