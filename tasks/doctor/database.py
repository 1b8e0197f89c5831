"""The database: there, migrated, on time, and keeping what it committed."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from tasks.doctor.check import Check, Finding, in_one_line

MOST_SKEW_SECONDS = 3.0


def database() -> Iterator[Finding]:
    try:
        connection.ensure_connection()
        _ask("SELECT 1")
    except (DatabaseError, InterfaceError, OSError) as error:
        connection.close()
        yield Finding(
            f"the database does not answer: {in_one_line(error)}",
            "Start it, or correct DATABASE_URL. Until then nothing is accepted, and no outcome recorded.",
        )


def migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    pending = [
        f"{step.app_label}.{step.name}" for step, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())
    ]
    if pending:
        shown = ", ".join(pending[:3]) + (", …" if len(pending) > 3 else "")
        yield Finding(f"{len(pending)} migrations are not applied: {shown}", "Run `manage.py migrate`.")


def clock(*, now: Callable[[], datetime] = timezone.now) -> Iterator[Finding]:
    """This host's clock against the database's. SQLite has none of its own."""
    if connection.vendor != "postgresql":
        return
    before = now()
    theirs = _ask("SELECT clock_timestamp()").astimezone(UTC)
    after = now()
    skew_seconds = (before + (after - before) / 2 - theirs).total_seconds()
    # the question itself took time: only what it can not explain is skew
    if abs(skew_seconds) - (after - before).total_seconds() / 2 > MOST_SKEW_SECONDS:
        direction = "ahead of" if skew_seconds > 0 else "behind"
        yield Finding(
            f"this host's clock is {timedelta(seconds=round(abs(skew_seconds)))} {direction} the database's: "
            "delays, deadlines and tokens end at another time than was asked for",
            "Run a time service (chrony, systemd-timesyncd) on both hosts.",
        )


def durability() -> Iterator[Finding]:
    """PostgreSQL can be told to answer before a commit is on disk. SQLite, as Django opens it, is not."""
    if connection.vendor != "postgresql":
        return
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        if _ask(f"SHOW {setting}") == "off":
            yield Finding(
                f"{setting} is off: a crash of the database's host loses jobs that were accepted",
                f"Set `{setting} = on` in postgresql.conf.",
            )


def _ask(question: str):
    with connection.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]


CHECKS = (
    Check("database", "the database answers", database),
    Check("migrations", "all are applied", migrations, needs=("database",)),
    Check("clock", f"host and database agree within {MOST_SKEW_SECONDS:g} s", clock, needs=("database",)),
    Check("durability", "a commit is on disk before it is answered", durability, needs=("database",)),
)
