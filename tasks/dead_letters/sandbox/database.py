"""Every connection is in one transaction that nobody commits, or changes a copy; and does not know.

To Django, and so to the task, the connection commits by itself as ever. Where it would begin, commit or roll back a
transaction of the task's, it sets, releases or goes back to a savepoint.
"""

from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

SETTINGS = {"lock_timeout": "3s", "statement_timeout": "60s"}
"""How long a rehearsal waits for a row that somebody else holds, and how long the server works for one that is gone."""

_SAVEPOINT = "rehearsal"


def keep_nothing() -> None:
    """From the next connection on, in every thread. What is to happen on commit never does."""
    connection_created.connect(_begin)


def _begin(connection: BaseDatabaseWrapper, **_: Any) -> None:
    connection.on_commit = lambda func, robust=False: None  # type: ignore[method-assign]
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
