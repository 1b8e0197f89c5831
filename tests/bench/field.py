"""The field: who competes, with which settings, and what each one promises for its rate.

Nobody is crippled: each has the settings that its own documentation recommends for many short jobs, on two cores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compose.private.environment import PEERS, VENV

Command = Sequence[str]
Sql = str


@dataclass(frozen=True)
class Promises:
    """What a caller and an operator can rely on."""

    row: str = "no"  # is there a durable record of the job, and of what?
    confirmed: str = "no"  # does the call that enqueues return only when the broker has it?
    redelivery: str = "yes"  # does a job whose worker was killed run again?


@dataclass(frozen=True)
class Contestant:
    """One entry. Its code is ``contestants/<module>.py``, its servers' part a home (stage.py)."""

    name: str
    module: str
    settings: str
    promises: Promises
    workers: Sequence[Command] = ()  # one a process; programs are those of its environment
    variant: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    is_ours: bool = False
    home: str = ""  # whose home it shares; else one of its own
    prepare: Sequence[Command] = ()  # run once in a new home
    create: Sequence[Sql] = ()
    tables: Sequence[str] = ()  # emptied before each run
    queue: str = ""  # in RabbitMQ; "" where it queues elsewhere
    done: Sql | str = ""  # how many jobs it has recorded as done: SQL, or `redis COMMAND KEY`
    accounts: Mapping[str, Sql] = field(default_factory=dict)  # what must come to the number of jobs as well
    first_guess: int = 4000  # jobs a run, before its speed is known

    @property
    def programs(self) -> Path:
        """Folder of its environment's programs."""
        return (VENV if self.is_ours else PEERS) / "bin"


def _celery_worker(*options: str) -> Command:
    return ("celery", "-A", "tests.bench.contestants.celery", "worker", "-l", "WARNING", *options)


DJANGO = {"DJANGO_SETTINGS_MODULE": "tests.bench.contestants.settings"}
MIGRATE = (("django-admin", "migrate", "-v", "0", "--run-syncdb"),)

OURS_ACCOUNTS = {
    "attempt records": "SELECT count(*) FROM django_celery_results_taskresult WHERE status = 'SUCCESS'",
    "claims in the histories": "SELECT count(*) FROM tasks_jobevent WHERE kind = 'running'",
    "outcomes in the histories": "SELECT count(*) FROM tasks_jobevent WHERE kind = 'succeeded'",
}


def _ours(name: str, settings: str, *options: str) -> Contestant:
    return Contestant(
        name=name,
        module="ours",
        settings=settings,
        promises=Promises(row="job, attempts and history", confirmed="or the relay", redelivery="yes, fenced"),
        workers=[("celery", "-A", "project", "worker", "-Q", "work-queue", "-l", "WARNING", *options)],
        environment={"DJANGO_SETTINGS_MODULE": "project.settings", "EXTRA_APPS": "tests.bench"},
        is_ours=True,
        home="ours",
        prepare=[("python", "manage.py", "migrate", "-v", "0"), ("python", "manage.py", "topology", "apply")],
        tables=["tasks_job", "tasks_workerprocess", "django_celery_results_taskresult"],
        queue="work-queue",
        done="SELECT count(*) FROM tasks_job WHERE state = 'succeeded'",
        accounts=OURS_ACCOUNTS,
        first_guess=2000,
    )


OURS = _ours("ours, prefork", "celery -A project worker -c 2", "-c", "2")
OURS_THREADS = _ours("ours, threads", "celery -A project worker -P threads -c 8", "-P", "threads", "-c", "8")

CELERY = Contestant(
    name="Celery, prefork",
    module="celery",
    settings="-c 2, prefetch 4, acks_late, results ignored",
    promises=Promises(),
    workers=[_celery_worker("-c", "2")],
    queue="bench",
    first_guess=8000,
)
CELERY_THREADS = Contestant(
    name="Celery, threads",
    module="celery",
    settings="-P threads -c 8, prefetch 4, acks_late, results ignored",
    promises=Promises(),
    workers=[_celery_worker("-P", "threads", "-c", "8")],
    queue="bench",
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
        tables=["django_celery_results_taskresult"],
        queue="bench",
        done="SELECT count(*) FROM django_celery_results_taskresult WHERE status = 'SUCCESS'",
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
    workers=[DRAMATIQ_WORKER],
    queue="bench",
    first_guess=15_000,
)
DRAMATIQ_RESULTS = Contestant(
    name="Dramatiq + Redis results",
    module="dramatiq",
    settings="RabbitMQ, -p 2 -t 8, Results with RedisBackend",
    promises=Promises(row="result in Redis, 10 minutes"),
    workers=[DRAMATIQ_WORKER],
    variant="results",
    queue="bench",
    done="redis DBSIZE",
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
    tables=["django_dramatiq_task"],
    queue="bench",
    done="SELECT count(*) FROM django_dramatiq_task WHERE status = 'done'",
    first_guess=1500,
)
RQ = Contestant(
    name="RQ",
    module="rq",
    settings="2 processes of SimpleWorker (the default, which forks for each job, is slower)",
    promises=Promises(row="job and result in Redis, 500 s", confirmed="Redis has it", redelivery="marked as failed"),
    workers=[("rq", "worker", "-q", "-w", "rq.SimpleWorker", "-u", "{REDIS_URL}", "bench")] * 2,
    done="redis ZCARD rq:finished:bench",
    first_guess=2000,
)
HUEY = Contestant(
    name="Huey",
    module="huey",
    settings="Redis, -k process -w 2, results stored",
    promises=Promises(row="result in Redis, until read", confirmed="Redis has it", redelivery="no"),
    workers=[("huey_consumer", "tests.bench.contestants.huey.huey", "-k", "process", "-w", "2", "-q")],
    done="redis HLEN huey.results.bench",
    first_guess=12_000,
)
TASKIQ = Contestant(
    name="Taskiq",
    module="taskiq",
    settings="taskiq-aio-pika, --workers 2, qos 64",
    promises=Promises(confirmed="yes"),
    workers=[("taskiq", "worker", "tests.bench.contestants.taskiq:broker", "--workers", "2", "--log-level", "WARNING")],
    queue="bench",
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
    tables=["procrastinate_jobs"],
    done="SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'",
    first_guess=2000,
)
RAW = Contestant(
    name="raw py-amqp",
    module="raw",
    settings="2 processes, acknowledgements in groups: the limit of the client",
    promises=Promises(),
    workers=[("python", "-m", "tests.bench.contestants.raw")] * 2,
    queue="bench",
    first_guess=20_000,
)
RAW_ROWS = Contestant(
    name="raw py-amqp + grouped commits",
    module="raw",
    settings="2 processes, two statements a group of 500: the limit of tracking",
    promises=Promises(row="latest state"),
    workers=[("python", "-m", "tests.bench.contestants.raw")] * 2,
    variant="rows",
    create=[
        "CREATE TABLE raw_job (id uuid PRIMARY KEY, payload jsonb NOT NULL, state text NOT NULL DEFAULT 'queued', "
        "attempt int NOT NULL DEFAULT 0, started_at timestamptz, finished_at timestamptz)"
    ],
    tables=["raw_job"],
    queue="bench",
    done="SELECT count(*) FROM raw_job WHERE state = 'succeeded'",
    first_guess=20_000,
)
