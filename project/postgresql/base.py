"""Django's PostgreSQL backend, but whether a kept connection still lives is seen on its socket.

CONN_HEALTH_CHECKS asks `SELECT 1` before the first query of each request: a round trip as long as the one that stores
a job. A server that restarted, failed over or ended our session has closed the socket, which can be seen for nothing.
"""

import select

import psycopg
from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    def is_usable(self) -> bool:
        """Whether the connection works. One that has failed, or has something to tell us, is asked; a silent one is
        believed, so that a server which vanished without a word is noticed by the next query."""
        return (not self.errors_occurred and _is_silent(self.connection)) or super().is_usable()


def _is_silent(connection: psycopg.Connection) -> bool:
    poll = select.poll()
    try:
        poll.register(connection.fileno(), select.POLLIN | select.POLLPRI)
    except psycopg.OperationalError:  # it is known to be closed
        return False
    return not poll.poll(0)
