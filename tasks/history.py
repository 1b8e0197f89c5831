"""Reading the history of all jobs in the order of its numbers, while others write it.

Numbers are given out before transactions commit, so a lower one can appear after a higher one was read. Who reads on
must know whose numbers may still appear.
"""

from django.db import connection
from django.db.models import Max

from tasks.models import JobEvent


def newest_event() -> int:
    """The number of the newest event; 0 where there is none."""
    return JobEvent.objects.aggregate(newest=Max("id"))["newest"] or 0


def writers() -> list[str]:
    """Transactions of others that may have taken numbers of events and have not ended, by PostgreSQL's names of them:
    whoever holds the lock that an INSERT into the table takes before it takes a number. SQLite has one writer, who is
    us.

    The lock is let go after the commit can be seen, so whoever is not listed has told all it had to tell.
    """
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT DISTINCT virtualtransaction FROM pg_locks
            WHERE locktype = 'relation' AND relation = 'tasks_jobevent'::regclass AND mode = 'RowExclusiveLock'
              AND granted AND pid IS DISTINCT FROM pg_backend_pid()
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """
        )
        return sorted(row[0] for row in cursor.fetchall())
