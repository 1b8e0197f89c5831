"""One change of many jobs, and what follows from it: a single statement where the database can."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from tasks import statements

Row = tuple[Any, ...]

# What the texts leave open. The clock is the database's: hosts disagree about the time.
_POSTGRESQL = {"now": "statement_timestamp()", "unless_held": "FOR NO KEY UPDATE OF job SKIP LOCKED"}
_SQLITE = {"now": "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')", "unless_held": ""}  # it never holds a single row

_TYPES = {"uuid": "uuid", "integer": "integer", "text": "text", "json": "text"}
_OUT_OF_SQLITE: dict[str, Callable[[Any], Any]] = {
    "uuid": UUID,
    "moment": lambda moment: datetime.fromisoformat(str(moment)).replace(tzinfo=UTC),
}


class GroupStatement:
    """UPDATE the jobs that ``given`` names, then INSERT what their change gives rise to: all of it, or nothing.

    ``given`` and ``returning`` map columns to types: uuid, integer, text, json (its text) or moment (aware, of
    ``returning`` alone). The texts find them as tables called ``given`` and ``changed``. {now} is the database's clock;
    {unless_held}, after a SELECT of ``job``, passes over rows that somebody's transaction holds. Rows travel as one
    JSON array, so there is one text, and one plan, for any number of them.
    """

    def __init__(
        self,
        *,
        given: Mapping[str, str],
        update: str,
        returning: Mapping[str, str],
        then: Sequence[str],
        answer: Sequence[str] = (),
    ) -> None:
        self._given = given
        self._returning = returning
        self._answer = answer or list(returning)
        update = f"{update} RETURNING {', '.join(f'tasks_job.{name}' for name in returning)}"
        inserts = "".join(f", then_{index} AS ({insert})" for index, insert in enumerate(then))
        asked = f"WITH given AS ({_recordset(given)}), changed AS ({update}){inserts}"
        self._at_once = f"{asked} SELECT {', '.join(self._answer)} FROM changed".format(**_POSTGRESQL)
        tables = f"WITH given AS ({_each('given', given)})"
        self._first = f"{tables} {update}".format(**_SQLITE)
        tables += f", changed AS ({_each('changed', returning)})"
        self._then = [f"{tables} {insert}".format(**_SQLITE) for insert in then]

    def run(self, rows: Sequence[Row], **constants: Any) -> list[Row]:
        """The columns of ``answer``, or else all of ``returning``, for every job that changed. ``rows`` are
        ``given``'s, ``constants`` the texts' %(name)s."""
        if connection.vendor == "postgresql":
            given = json.dumps([dict(zip(self._given, row, strict=True)) for row in rows], default=str)
            return statements.execute(self._at_once, {**constants, "given": given})
        with transaction.atomic():
            return self._run_in_turn(rows, constants)

    def _run_in_turn(self, rows: Sequence[Row], constants: dict[str, Any]) -> list[Row]:
        values = {name: value.hex if isinstance(value, UUID) else value for name, value in constants.items()}
        values["given"] = json.dumps(rows, default=lambda id: id.hex)
        with connection.cursor() as cursor:
            cursor.execute(self._first, values)
            changed = cursor.fetchall()
            values["changed"] = json.dumps(changed, default=str)
            for text in self._then:
                cursor.execute(text, values)
        return [self._answered(dict(zip(self._returning, row, strict=True))) for row in changed]

    def _answered(self, row: dict[str, Any]) -> Row:
        """As PostgreSQL would have answered: SQLite keeps identifiers and moments as text."""
        adapters = {name: _OUT_OF_SQLITE.get(self._returning[name]) for name in self._answer}
        return tuple(adapt(row[name]) if adapt and row[name] else row[name] for name, adapt in adapters.items())


def _recordset(columns: Mapping[str, str]) -> str:
    casts = ", ".join(f"{name}::jsonb AS {name}" if kind == "json" else name for name, kind in columns.items())
    types = ", ".join(f"{name} {_TYPES[kind]}" for name, kind in columns.items())
    return f"SELECT {casts} FROM json_to_recordset(%(given)s::json) AS u ({types})"


def _each(parameter: str, columns: Mapping[str, str]) -> str:
    values = ", ".join(f"json_extract(value, '$[{index}]') AS {name}" for index, name in enumerate(columns))
    return f"SELECT {values} FROM json_each(%({parameter})s)"
