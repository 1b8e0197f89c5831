"""A kept connection to PostgreSQL, before and after the server has ended it."""

import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from project.postgresql.base import DatabaseWrapper
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no server"),
]


@pytest.fixture
def kept():
    """A connection of its own, as a request finds it."""
    ours = DatabaseWrapper({**connection.settings_dict, "CONN_HEALTH_CHECKS": True}, "kept")
    ours.inc_thread_sharing()
    select_one(ours)
    yield ours
    ours.close()


def select_one(kept: DatabaseWrapper) -> None:
    """One request that asks one question."""
    kept.close_if_unusable_or_obsolete()
    with kept.cursor() as cursor:
        cursor.execute("SELECT 1")


def end_session(kept: DatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [kept.connection.info.backend_pid])
    wait_for(lambda: not kept.is_usable(), "the end to arrive")


def test_a_living_connection_is_not_asked(kept):
    kept.force_debug_cursor = True
    before = kept.connection.info.backend_pid
    with CaptureQueriesContext(kept) as queries:
        assert kept.is_usable()
        select_one(kept)
    assert (len(queries), kept.connection.info.backend_pid) == (1, before)


def test_a_connection_that_the_server_ended_is_replaced_before_it_is_used(kept):
    before = kept.connection.info.backend_pid
    end_session(kept)
    select_one(kept)
    assert kept.connection.info.backend_pid != before


def test_one_that_we_have_closed_is_unusable(kept):
    kept.connection.close()
    assert not kept.is_usable()


def test_one_with_news_is_asked(kept):
    with kept.cursor() as cursor:
        cursor.execute("LISTEN news")
    with psycopg.connect(**connection.get_connection_params() | {"autocommit": True}) as other:
        other.execute("NOTIFY news")
    assert kept.is_usable()


def test_one_that_failed_is_asked(kept, monkeypatch):
    asked = []
    monkeypatch.setattr("django.db.backends.postgresql.base.DatabaseWrapper.is_usable", lambda self: asked.append(self))
    kept.errors_occurred = True
    kept.is_usable()
    assert asked == [kept]
