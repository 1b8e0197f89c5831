"""The field: who competes, with which settings, and what each one promises for its rate.

Nobody is crippled: each has the settings that its own documentation recommends for many short jobs, on two cores.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from compose.private import ROOT
from compose.private.environment import PEERS, VENV

Command = Sequence[str]
Sql = str
Query = str
"""SQL that answers one number, or `redis COMMAND KEY`. ``{since}``: a UUIDv7 older than every job of the run."""


@dataclass(frozen=True)
class Promises:
    """What a caller and an operator can rely on."""

    row: str = "no"  # is there a durable record of the job, and of what?
    confirmed: str = "no"  # does the call that enqueues return only when the broker has it?
    redelivery: str = "yes"  # does a job whose worker was killed run again?


@dataclass(frozen=True)
class Books:
    """Where the contestant's jobs can be counted."""

    queue: str = ""  # in RabbitMQ; "" where it queues elsewhere
    sent: Mapping[str, Query] = field(default_factory=dict)  # what comes to the number of jobs when all are enqueued
    done: Query = ""  # how many jobs it has recorded as done
    closed: Mapping[str, Query] = field(default_factory=dict)  # what comes to the number of jobs when all are done
    empty: Sequence[Sql] = ()  # how everything of the last run is deleted


@dataclass(frozen=True)
class Contestant:
    """One entry. Its code is ``contestants/<module>.py``, its part of the servers a home (stage.py)."""

    name: str
    module: str
    settings: str
    promises: Promises
    books: Books = Books()
    workers: Sequence[Command] = ()  # one a process; programs are those of its environment
    variant: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    is_ours: bool = False
    home: str = ""  # whose home it shares; else one of its own
    prepare: Sequence[Command | Sql] = ()  # run once in a new home
    finished_jobs: int = 0  # already in its tables, from long ago
    first_guess: int = 4000  # jobs a drain, before its speed is known

    @property
    def programs(self) -> Path:
        """Folder of its environment's programs."""
        return (VENV if self.is_ours else PEERS) / "bin"


def _celery_worker(*options: str) -> Command:
    return ("celery", "-A", "tests.bench.contestants.celery", "worker", "-l", "WARNING", *options)


DJANGO = {"DJANGO_SETTINGS_MODULE": "tests.bench.contestants.settings"}
MIGRATE = (("django-admin", "migrate", "-v", "0", "--run-syncdb"),)

OURS_BOOKS = Books(
    queue="work-queue",
    sent={"rows": "SELECT count(*) FROM tasks_job WHERE id > '{since}'"},
    done="SELECT count(*) FROM tasks_job WHERE state = 'succeeded' AND id > '{since}'",
    closed={
        "attempt records": "SELECT count(*) FROM django_celery_results_taskresult "
        "WHERE status = 'SUCCESS' AND task_id > '{since}'",
        "claims in the histories": "SELECT count(*) FROM tasks_jobevent WHERE kind = 'running' AND job_id > '{since}'",
        "ends in the histories": "SELECT count(*) FROM tasks_jobevent WHERE kind = 'succeeded' AND job_id > '{since}'",
    },
    empty=["TRUNCATE tasks_job, tasks_jobevent, tasks_workerprocess, django_celery_results_taskresult CASCADE"],
)


def _ours(name: str, settings: str, *options: str, **more: Any) -> Contestant:
    return Contestant(
        name=name,
        module="ours",
        settings=settings,
        promises=Promises(row="job, attempts and history", confirmed="or by the relay", redelivery="yes, fenced"),
        books=OURS_BOOKS,
        workers=[("celery", "-A", "project", "worker", "-Q", "work-queue", "-l", "WARNING", *options)],
        environment={"DJANGO_SETTINGS_MODULE": "project.settings", "EXTRA_APPS": "tests.bench"},
        is_ours=True,
        home="ours",
        prepare=[("python", "manage.py", "migrate", "-v", "0"), ("python", "manage.py", "topology", "apply")],
        first_guess=6000,
        **more,
    )


OURS = _ours("ours, prefork", "celery -A project worker -c 2", "-c", "2")
OURS_THREADS = _ours("ours, threads", "celery -A project worker -P threads -c 8", "-P", "threads", "-c", "8")


def ours_with(finished_jobs: int) -> Contestant:
    """The same worker on tables that have seen many jobs, which stay."""
    return replace(
        OURS,
        name="ours, a full table",
        settings=f"{finished_jobs // 1_000_000} million finished jobs in the tables",
        books=replace(
            OURS_BOOKS,
            empty=[
                "DELETE FROM tasks_jobevent WHERE job_id > '{since}'",
                "DELETE FROM django_celery_results_taskresult WHERE task_id > '{since}'",
                "DELETE FROM tasks_job WHERE id > '{since}'",
            ],
        ),
        home=f"finished_{finished_jobs}",
        finished_jobs=finished_jobs,
    )


CELERY = Contestant(
    name="Celery, prefork",
    module="celery",
    settings="-c 2, prefetch 4, acks_late, results ignored",
    promises=Promises(),
    books=Books(queue="bench"),
    workers=[_celery_worker("-c", "2")],
    first_guess=8000,
)
CELERY_THREADS = Contestant(
    name="Celery, threads",
    module="celery",
    settings="-P threads -c 8, prefetch 4, acks_late, results ignored",
    promises=Promises(),
    books=Books(queue="bench"),
    workers=[_celery_worker("-P", "threads", "-c", "8")],
    first_guess=8000,
)


def _celery_results(name: str, settings: str, variant: str) -> Contestant:
    return Contestant(
        name=name,
        module="celery",
        settings=f"-c 2, prefetch 4, acks_late, track_started, result_extended, {settings}",
        promises=Promises(row="latest state of each task"),
        workers=[_celery_worker("-c", "2")],
        variant=variant,
        environment={**DJANGO, "BENCH_APPS": "django_celery_results"},
        prepare=MIGRATE,
        books=Books(
            queue="bench",
            done="SELECT count(*) FROM django_celery_results_taskresult WHERE status = 'SUCCESS'",
            empty=["TRUNCATE django_celery_results_taskresult CASCADE"],
        ),
        first_guess=1000,
    )


CELERY_RESULTS = _celery_results("Celery + django-celery-results", "default connection", "results")
CELERY_RESULTS_KEPT = _celery_results(
    "Celery + django-celery-results, kept connection", "CELERY_DB_REUSE_MAX=1000000", "results,kept"
)

DRAMATIQ_WORKER = ("dramatiq", "tests.bench.contestants.dramatiq", "-p", "2", "-t", "8", "--skip-logging")
DRAMATIQ = Contestant(
    name="Dramatiq",
    module="dramatiq",
    settings="RabbitMQ, -p 2 -t 8",
    promises=Promises(),
    books=Books(queue="bench"),
    workers=[DRAMATIQ_WORKER],
    first_guess=15_000,
)
DRAMATIQ_RESULTS = Contestant(
    name="Dramatiq + Redis results",
    module="dramatiq",
    settings="RabbitMQ, -p 2 -t 8, Results with RedisBackend",
    promises=Promises(row="result in Redis, 10 minutes"),
    workers=[DRAMATIQ_WORKER],
    variant="results",
    books=Books(queue="bench", done="redis DBSIZE"),
    first_guess=8000,
)
DRAMATIQ_ROWS = Contestant(
    name="Dramatiq + a Django row per job",
    module="dramatiq",
    settings="RabbitMQ, -p 2 -t 8, django_dramatiq's AdminMiddleware, CONN_MAX_AGE=None",
    promises=Promises(row="latest state of each task"),
    workers=[DRAMATIQ_WORKER],
    variant="rows",
    environment={**DJANGO, "BENCH_APPS": "django_dramatiq"},
    prepare=MIGRATE,
    books=Books(
        queue="bench",
        sent={"rows": "SELECT count(*) FROM django_dramatiq_task"},
        done="SELECT count(*) FROM django_dramatiq_task WHERE status = 'done'",
        empty=["TRUNCATE django_dramatiq_task"],
    ),
    first_guess=1500,
)
RQ = Contestant(
    name="RQ",
    module="rq",
    settings="2 processes of SimpleWorker (the default, which forks for each job, is slower)",
    promises=Promises(row="job and result in Redis, 500 s", confirmed="Redis has it", redelivery="marked as failed"),
    workers=[("rq", "worker", "-q", "-w", "rq.SimpleWorker", "-u", "{REDIS_URL}", "bench")] * 2,
    books=Books(sent={"queued": "redis LLEN rq:queue:bench"}, done="redis ZCARD rq:finished:bench"),
    first_guess=2000,
)
HUEY = Contestant(
    name="Huey",
    module="huey",
    settings="Redis, -k process -w 2, results stored",
    promises=Promises(row="result in Redis, until read", confirmed="Redis has it", redelivery="no"),
    workers=[("huey_consumer", "tests.bench.contestants.huey.huey", "-k", "process", "-w", "2", "-q")],
    books=Books(sent={"queued": "redis LLEN huey.redis.bench"}, done="redis HLEN huey.results.bench"),
    first_guess=12_000,
)
TASKIQ = Contestant(
    name="Taskiq",
    module="taskiq",
    settings="taskiq-aio-pika, --workers 2, qos 64",
    promises=Promises(confirmed="yes"),
    workers=[("taskiq", "worker", "tests.bench.contestants.taskiq:broker", "--workers", "2", "--log-level", "WARNING")],
    books=Books(queue="bench"),
    first_guess=12_000,
)
PROCRASTINATE = Contestant(
    name="Procrastinate",
    module="procrastinate",
    settings="2 processes of worker -c 8",
    promises=Promises(row="job and history", confirmed="the row is the queue", redelivery="by a periodic task"),
    workers=[("procrastinate", "-a", "tests.bench.contestants.procrastinate.app", "worker", "-q", "bench", "-c", "8")]
    * 2,
    prepare=[("procrastinate", "-a", "tests.bench.contestants.procrastinate.app", "schema", "--apply")],
    books=Books(
        sent={"rows": "SELECT count(*) FROM procrastinate_jobs"},
        done="SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'",
        empty=["TRUNCATE procrastinate_jobs CASCADE"],
    ),
    first_guess=2000,
)
RAW = Contestant(
    name="raw py-amqp",
    module="raw",
    settings="2 processes, acknowledgements in groups: the limit of the client",
    promises=Promises(),
    workers=[("python", "-m", "tests.bench.contestants.raw")] * 2,
    books=Books(queue="bench"),
    first_guess=20_000,
)
RAW_ROWS = Contestant(
    name="raw py-amqp + grouped commits",
    module="raw",
    settings="2 processes, two statements a group of 500: the limit of tracking",
    promises=Promises(row="latest state"),
    workers=[("python", "-m", "tests.bench.contestants.raw")] * 2,
    variant="rows",
    prepare=[
        "CREATE TABLE raw_job (id uuid PRIMARY KEY, payload jsonb NOT NULL, state text NOT NULL DEFAULT 'queued', "
        "attempt int NOT NULL DEFAULT 0, started_at timestamptz, finished_at timestamptz)"
    ],
    books=Books(
        queue="bench",
        done="SELECT count(*) FROM raw_job WHERE state = 'succeeded'",
        empty=["TRUNCATE raw_job"],
    ),
    first_guess=20_000,
)


# Those that only enqueue, or only answer over HTTP.

CELERY_UNCONFIRMED = Contestant(
    name="Celery, apply_async",
    module="celery",
    settings="defaults",
    promises=Promises(),
    books=Books(queue="bench"),
)
CELERY_CONFIRMED = Contestant(
    name="Celery, confirmed apply_async",
    module="celery",
    settings="confirm_publish; worker -c 2, prefetch 4, acks_late",
    promises=Promises(confirmed="yes"),
    books=Books(queue="bench"),
    workers=[_celery_worker("-c", "2")],
    variant="confirmed",
)
ROW_BOOKS = Books(queue="bench", sent={"rows": "SELECT count(*) FROM rows_job"}, empty=["TRUNCATE rows_job"])
CELERY_ROW = Contestant(
    name="row + confirmed apply_async",
    module="celery",
    settings="Job.objects.create(), then apply_async with confirm_publish",
    promises=Promises(row="written by hand", confirmed="yes"),
    books=ROW_BOOKS,
    variant="confirmed,row",
    environment={**DJANGO, "BENCH_APPS": "tests.bench.contestants.rows"},
    home="rows",
    prepare=MIGRATE,
)
CELERY_ROWS = replace(
    CELERY_ROW,
    name="rows by bulk_create + confirmed apply_async",
    settings="Job.objects.bulk_create(), then apply_async with confirm_publish for each",
    variant="confirmed,row,bulk",
)

WEB = Contestant(
    name="plain Django view",
    module="celery",
    settings="Job.objects.create(), then apply_async with confirm_publish; no authentication, no middleware",
    promises=Promises(row="written by hand", confirmed="yes"),
    books=ROW_BOOKS,
    variant="confirmed,row",
    environment={
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "PYTHONPATH": f"{ROOT / 'tests/bench/contestants/site'}{os.pathsep}{ROOT}",
        "BENCH_APPS": "tests.bench.contestants.rows",
    },
    is_ours=True,  # it runs on the platform's own environment: the same Django, Celery and web server
    home="rows",
    prepare=MIGRATE,
)
