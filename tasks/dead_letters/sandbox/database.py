"""Every connection of the process begins a transaction that nobody commits, or changes a copy."""

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

LOCK_TIMEOUT = "3s"
"""How long a rehearsal waits for a row that somebody else holds. What it holds itself, others wait for."""

_OF_TRANSACTIONS = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")


def keep_nothing() -> None:
    """From the next connection on, in every thread. What is to happen on commit never does."""
    connection_created.connect(_begin)


def _begin(connection: BaseDatabaseWrapper, **_: Any) -> None:
    connection.on_commit = lambda func, robust=False: None  # type: ignore[method-assign]
    if connection.vendor == "sqlite":  # its file is a copy, and an open transaction would keep other threads out
        return
    outermost = transaction.atomic(using=connection.alias)
    outermost._from_testcase = True  # type: ignore[attr-defined]  # so that durable blocks may begin in it
    outermost.__enter__()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
    connection.execute_wrappers.append(_as_in_autocommit)


def _as_in_autocommit(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """A statement that fails outside the task's own transactions fails alone, as it would without ours around it."""
    connection = context["connection"]
    if len(connection.atomic_blocks) > 1 or str(sql).startswith(_OF_TRANSACTIONS):
        return execute(sql, params, many, context)
    with transaction.atomic(using=connection.alias):
        return execute(sql, params, many, context)
