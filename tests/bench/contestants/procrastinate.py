"""Procrastinate: PostgreSQL is queue and record in one."""

import os

import procrastinate

from tests.bench import work

ADDRESS = os.environ["DATABASE_URL"].replace("postgres:", "postgresql:", 1)
CALL = 1000

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=ADDRESS))
_deferrer = None


@app.task(name="bench.nothing", queue="bench")
async def nothing(payload: dict) -> None:
    work.run(payload)


def send(sent: float = 0.0) -> None:
    _client().defer(payload=work.payload(sent))


def send_many(count: int) -> None:
    _client().batch_defer(*[{"payload": work.PAYLOAD}] * count)


def fill(count: int) -> None:
    for begin in range(0, count, CALL):
        send_many(min(CALL, count - begin))


def _client() -> "procrastinate.jobs.JobDeferrer":
    global _deferrer
    if _deferrer is None:
        client = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=ADDRESS))
        client.open()
        _deferrer = client.configure_task("bench.nothing", queue="bench", allow_unknown=True)
    return _deferrer
