"""A database with millions of finished jobs, made once and kept: one real job, multiplied by the server itself."""

from collections.abc import Mapping

from compose.private.console import say
from tests.bench.stage import Home

CHUNK = 500_000
LONG_AGO = "interval '20 days' + n * interval '100 milliseconds'"
# A UUIDv7 of June 2024 and the milliseconds after it: older than whatever a run adds, as the id of an old job is.
OLD_ID = "(lpad(to_hex(x'019000000000'::bigint + n), 12, '0') || '70008000000000000000')::uuid"


def fill(home: Home, count: int) -> None:
    """Rows, histories and attempt records like those of the one job that has just been done here."""
    (job_id,) = home.row("SELECT id FROM tasks_job WHERE state = 'succeeded'")
    made = {
        "tasks_job": ({"id": OLD_ID}, f"id = '{job_id}'"),
        "tasks_jobevent": ({"job_id": OLD_ID}, f"job_id = '{job_id}'"),
        "django_celery_results_taskresult": ({"task_id": f"{OLD_ID} || '.1'"}, f"task_id = '{job_id}.1'"),
    }
    home.execute("SET synchronous_commit = off")
    for begin in range(0, count, CHUNK):
        say(f"making finished jobs, once for all runs to come: {begin:,} of {count:,}")
        for table, (changed, where) in made.items():
            home.execute(_multiplied(home, table, changed, where, begin, min(begin + CHUNK, count)))
    home.execute("VACUUM (ANALYZE)", "CHECKPOINT")


def _multiplied(home: Home, table: str, changed: Mapping[str, str], where: str, begin: int, end: int) -> str:
    """The statement that copies the rows of ``where`` for each number; times move into the past, numbers are drawn."""
    known = home.rows(
        "SELECT column_name, data_type FROM information_schema.columns "
        f"WHERE table_name = '{table}' AND table_schema = 'public' AND is_identity = 'NO'"
    )
    values = {
        column: changed.get(column) or (f"{column} - {LONG_AGO}" if kind.startswith("timestamp") else column)
        for column, kind in known
    }
    return (
        f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} "
        f"FROM {table}, generate_series({begin}, {end - 1}) AS n WHERE {where} ORDER BY n"
    )
