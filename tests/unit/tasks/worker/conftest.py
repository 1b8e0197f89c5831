"""What several tests of the worker share."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection


@pytest.fixture
def second_connection(db: None) -> Iterator[Callable[..., None]]:
    """Somebody else's: executes statements in a transaction that stays open until the test is over. Whoever waits for
    it fails."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")
    other = connection.copy()
    other.set_autocommit(False)

    def execute(statement: str, *values: Any) -> None:
        with other.cursor() as cursor:
            cursor.execute(statement, values)

    yield execute
    other.rollback()
    other.close()
    connection.close()
