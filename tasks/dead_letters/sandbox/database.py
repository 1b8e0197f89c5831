"""Every connection is in one transaction that nobody commits, or changes a copy; and does not know.

To Django, and so to the task, the connection commits by itself as ever. Where it would begin, commit or roll back a
transaction of the task's, it sets, releases or goes back to a savepoint.
"""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from tasks.dead_letters.sandbox.telling import tell, tell_whole

SETTINGS = {"lock_timeout": "3s", "statement_timeout": "60s"}
"""How long a rehearsal waits for a row that somebody else holds, and how long the server works for one that is gone."""

_SAVEPOINT = "rehearsal"
_WRITES = re.compile(r"\s*(INSERT\s+(?:OR\s+\w+\s+)?INTO|UPDATE|DELETE\s+FROM)\s+(?:ONLY\s+)?([\w.\"]+)", re.IGNORECASE)

_changed: Counter[tuple[str, str]] = Counter()
_settle: list[Callable[[], None]] = []


def keep_nothing() -> None:
    """From the next connection on, in every thread. What is to happen on commit never does."""
    connection_created.connect(_begin)


def tell_rows() -> None:
    """How many rows the statements so far inserted, updated and deleted, by table."""
    for settle in _settle:
        settle()
    for (table, act), number in _changed.items():
        tell_whole("rows", table=table, act=act, number=number)


def _counter(connection: BaseDatabaseWrapper) -> Callable[..., Any]:
    """Counts the rows that each statement changes, and tells the sum at once, in case the process does not live to tell
    it at its end."""
    changes: Callable[[], int] | None = None
    if connection.vendor == "sqlite":  # which knows when all that RETURNING gives was fetched, after this
        changes = lambda: connection.connection.total_changes  # noqa: E731
    unsettled: list[tuple[tuple[str, str], int]] = []

    def note(where: tuple[str, str], number: int) -> None:
        if number > 0:
            _changed[where] += number
            tell("rows", table=where[0], act=where[1], number=_changed[where])

    def settle() -> None:
        while changes and unsettled:
            where, before = unsettled.pop()
            note(where, changes() - before)

    def count(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        settle()
        written = _WRITES.match(str(sql))
        where = (written[2].replace('"', ""), written[1].split()[0].lower()) if written else ("", "")
        if written and changes:
            unsettled.append((where, changes()))
        result = execute(sql, params, many, context)
        if written and not changes:
            note(where, context["cursor"].rowcount)
        return result

    _settle.append(settle)
    return count


def _begin(connection: BaseDatabaseWrapper, **_: Any) -> None:
    connection.on_commit = lambda func, robust=False: None  # type: ignore[method-assign]
    connection.execute_wrappers.append(_counter(connection))
    if connection.vendor == "sqlite":  # its file is a copy, and an open transaction would keep other threads out
        return
    connection.connection.autocommit = False
    with connection.connection.cursor() as cursor:
        for name, value in SETTINGS.items():
            cursor.execute("SELECT set_config(%s, %s, false)", [name, value])

    def run(*statements: str) -> None:
        with connection.wrap_database_errors, connection.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(f"{statement} {_SAVEPOINT}")

    def set_autocommit(autocommit: bool) -> None:
        if not autocommit:
            run("SAVEPOINT")

    def commit() -> None:
        run("RELEASE SAVEPOINT")

    def roll_back() -> None:
        run("ROLLBACK TO SAVEPOINT", "RELEASE SAVEPOINT")

    def execute_alone(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        """Outside the task's transactions a statement that fails takes nothing with it."""
        if connection.in_atomic_block:
            return execute(sql, params, many, context)
        run("SAVEPOINT")
        try:
            result = execute(sql, params, many, context)
        except BaseException:
            roll_back()
            raise
        commit()
        return result

    for name, function in (("_set_autocommit", set_autocommit), ("_commit", commit), ("_rollback", roll_back)):
        setattr(connection, name, function)
    connection.execute_wrappers.append(execute_alone)
