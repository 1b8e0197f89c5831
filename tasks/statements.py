"""Statements of the hot path, past Django's cursor: it would send and plan their text each time, and has no COPY.

They run on Django's connection, in its transaction, and raise its errors.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import transaction


def execute(statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
    """The rows that PostgreSQL returns for ``statement``, which the connection prepares once it comes often.

    A pooler between must keep prepared statements apart, as PgBouncer does from 1.21 on, or be told not to prepare any
    (DATABASE_PREPARED_STATEMENTS).
    """
    with _cursor() as cursor:
        return cursor.execute(statement, parameters).fetchall()


def copy(table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Append ``rows``, all with the same columns in the same order, to ``table`` in one trip. None may conflict."""
    with _cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(rows[0])}) FROM STDIN") as stream:
        # psycopg's own write_row looks up how to adapt each value, which takes three times as long.
        stream.write("".join("\t".join(map(_copied, row.values())) + "\n" for row in rows))


@contextmanager
def _cursor() -> Iterator[psycopg.Cursor]:
    connection = transaction.get_connection()  # looked up once: django.db.connection does so at each use
    with connection.cursor() as cursor, connection.wrap_database_errors:
        connection.validate_no_broken_transaction()
        yield psycopg.Cursor(cursor.connection)


def _copied(value: Any) -> str:
    """As COPY's text format has it."""
    if value is None:
        return r"\N"
    text = str(value).replace("\\", r"\\")  # each replace is far quicker than one str.translate
    return text.replace("\t", r"\t").replace("\n", r"\n").replace("\r", r"\r")
