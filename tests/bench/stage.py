"""The stage: one RabbitMQ, one PostgreSQL and one Redis for everybody, and a home on them for each contestant."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import amqp
import httpx
import psycopg
import redis
from uuid_utils.compat import uuid7

from compose.private import ROOT
from compose.private.envfile import Secrets
from compose.private.process import Process, clean_environment
from compose.private.server import Server
from compose.private.servers import Servers, private_servers
from tests.bench.field import Command, Contestant, Query, Sql
from tests.bench.meter import Meter
from tests.bench.work import Marks
from tests.vhosts import vhost
from tests.waiting import wait_for

PREFIX = "bench_"


class Called(NamedTuple):
    """What a client process has measured: its time, and the CPU seconds of itself and of each server meanwhile."""

    seconds: float
    cpu: dict[str, float]

    def cpu_us(self, jobs: int) -> dict[str, float]:
        """Microseconds for each of so many jobs."""
        return {part: seconds * 1e6 / jobs for part, seconds in self.cpu.items()}


class Failed(Exception):
    """A contestant could not be measured, or its accounts do not balance: an error with its reason, never a figure."""


class Home:
    """A vhost and a database of a contestant's own, the Redis that nobody else uses meanwhile, and its processes."""

    def __init__(self, contestant: Contestant, addresses: Mapping[str, str], stage: "Stage"):
        self.contestant = contestant
        self.addresses = addresses
        self.since = uuid7()
        self.stage = stage

    def environment(self, contestant: Contestant) -> dict[str, str]:
        path = f"{contestant.programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return clean_environment() | {
            **self.addresses,
            "PYTHONPATH": str(ROOT),
            **contestant.environment,
            "PATH": path,
            "PYTHONUNBUFFERED": "1",
            "SECRET_KEY": self.stage.secret_key,
            "LOG_LEVEL": "WARNING",
            "BENCH_VARIANT": contestant.variant,
            "BENCH_MARKS": str(self.stage.marks.path),
            "BENCH_SERVERS": json.dumps(self.stage.server_pids),
            "PRIVATE_RUN": os.environ.get("PRIVATE_RUN", ""),  # by which a killed run's processes are found
        }

    def process(self, contestant: Contestant, command: Command, name: str, *, cwd: Path = ROOT, **more: str) -> Process:
        program, *arguments = (part.format(**self.addresses) for part in command)
        return Process(
            name,
            [contestant.programs / program, *arguments],
            directory=self.stage.directory,
            environment=self.environment(contestant) | more,
            cwd=cwd,
        )

    def client(self, contestant: Contestant, verb: str, *numbers: int) -> Called:
        """Let a client process of the contestant enqueue; what it measured."""
        command = ["python", "-m", "tests.bench.contestants", contestant.module, verb, *map(str, numbers)]
        return Called(**json.loads(self.output(contestant, command).splitlines()[-1]))

    def prepare(self) -> None:
        """What a new home wants: programs to be run, statements to be executed."""
        for step in self.contestant.prepare:
            if isinstance(step, str):
                self.execute(step)
            else:
                self.output(self.contestant, step)

    def output(self, contestant: Contestant, command: Command) -> str:
        """What a program of its environment prints. Failed with its last words when it fails."""
        program, *arguments = command
        done = subprocess.run(
            [contestant.programs / program, *arguments],
            cwd=ROOT,
            env=self.environment(contestant),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = "\n".join(done.stderr.splitlines()[-8:])
            raise Failed(f"this ended with {done.returncode}: {' '.join(command)}\n{last}")
        return done.stdout

    def clean(self) -> None:
        """Empty the tables, the queues and Redis."""
        self.execute(*self.contestant.books.empty)
        self._purge_queues()
        self.redis.flushall()
        self.stage.marks.clear()

    def settle(self) -> None:
        """What a server would do sooner or later anyway, done before and not during a measurement."""
        if self.contestant.books.empty:
            self.execute("VACUUM (ANALYZE)")
        self.execute("CHECKPOINT")

    def count(self, query: Query) -> int:
        if query.startswith("redis "):
            return int(self.redis.execute_command(*query.split()[1:]))
        (number,) = self.row(query.format(since=self.since))
        return int(number)

    def row(self, query: Sql) -> tuple[Any, ...]:
        (only,) = self.rows(query)
        return only

    def rows(self, query: Sql) -> list[tuple[Any, ...]]:
        return self._database.execute(query).fetchall()

    def execute(self, *statements: Sql) -> None:
        for statement in statements:
            self._database.execute(statement.format(since=self.since))

    def depth(self, queue: str) -> int:
        """Messages ready in the queue; 0 while it is not declared."""
        url = urlsplit(self.addresses["BROKER_URL"])
        login = {"userid": url.username, "password": url.password, "virtual_host": url.path[1:]}
        with suppress(amqp.NotFound), amqp.Connection(f"{url.hostname}:{url.port}", **login) as connection:
            return connection.channel().queue_declare(queue, passive=True).message_count
        return 0

    def wait_for_depth(self, queue: str, count: int) -> None:
        try:
            wait_for(lambda: self.depth(queue) == count, f"{count} messages in {queue}", 30)
        except AssertionError as error:
            raise Failed(f"{error}; there are {self.depth(queue)}") from None

    @cached_property
    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.addresses["REDIS_URL"])

    @cached_property
    def _database(self) -> psycopg.Connection:
        return psycopg.connect(_address(self.addresses["DATABASE_URL"]), autocommit=True)

    def close(self) -> None:
        self._database.close()
        self.redis.close()

    def _purge_queues(self) -> None:
        place = urlsplit(self.addresses["BROKER_URL"]).path[1:]
        with api(self.addresses) as broker:
            for queue in broker.get(f"queues/{place}", params={"columns": "name"}).raise_for_status().json():
                broker.delete(f"queues/{place}/{queue['name']}/contents")


class Stage:
    """The servers, and every home that was asked for."""

    def __init__(self, servers: Servers, directory: Path, closing: ExitStack):
        self.directory = directory
        self.marks = Marks(directory / "marks")
        self.secret_key = Secrets(directory / "run" / "secrets").get("SECRET_KEY")
        self.server_pids = {part: server.process.pid for part, server in _named(servers).items() if server.process.pid}
        self._servers = servers
        self._closing = closing
        self._homes: dict[str, Home] = {}

    def home(self, contestant: Contestant) -> Home:
        """Its home, made and prepared when it is first asked for."""
        key = contestant.home or contestant.name
        if key not in self._homes:
            place = f"{PREFIX}{len(self._homes)}"
            if not self.has_kept(contestant):
                self.execute(f"CREATE DATABASE {place}")
            self._homes[key] = self._open(contestant, place, _kept(contestant) if contestant.finished_jobs else place)
            self._homes[key].prepare()
        return self._homes[key]

    def has_kept(self, contestant: Contestant) -> bool:
        """Whether an earlier run has left its database, filled."""
        return _kept(contestant) in self._databases()

    @contextmanager
    def keeping(self, contestant: Contestant) -> Iterator[Home]:
        """A home whose database is kept for all runs to come, unless the ``with`` block is left by an exception."""
        draft = f"{PREFIX}draft"
        self.execute(f"CREATE DATABASE {draft}")
        home = self._open(contestant, draft, draft)
        home.prepare()
        yield home
        home.close()
        self.execute(f"ALTER DATABASE {draft} RENAME TO {_kept(contestant)}")

    def meter(self, **processes: int) -> Meter:
        """Of the servers and of ``processes``."""
        return Meter({**processes, **self.server_pids})

    def execute(self, statement: Sql) -> None:
        with psycopg.connect(_address(self._servers.environment["DATABASE_URL"]), autocommit=True) as connection:
            connection.execute(statement)

    def clear(self) -> None:
        """Away with the homes, those that a killed run has left behind included."""
        for name in self._databases():
            if name.startswith(PREFIX):
                self.execute(f"DROP DATABASE {name} WITH (FORCE)")
        with api(self._servers.environment) as broker:
            for place in broker.get("vhosts", params={"columns": "name"}).raise_for_status().json():
                if place["name"].startswith(PREFIX):
                    broker.delete(f"vhosts/{place['name']}").raise_for_status()

    def _databases(self) -> set[str]:
        with psycopg.connect(_address(self._servers.environment["DATABASE_URL"])) as connection:
            return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}

    def _open(self, contestant: Contestant, place: str, database: str) -> Home:
        given = self._servers.environment
        broker_url = self._closing.enter_context(vhost(given["BROKER_URL"], given["RABBITMQ_API_URL"], place))
        database_url = urlsplit(given["DATABASE_URL"])._replace(path=f"/{database}").geturl()
        home = Home(contestant, {**given, "BROKER_URL": broker_url, "DATABASE_URL": database_url}, self)
        self._closing.callback(home.close)
        return home


@contextmanager
def opened(directory: Path) -> Iterator[Stage]:
    """The stage with its servers running. What they store is kept for the next run; the homes are not."""
    with private_servers(directory / "servers") as servers, ExitStack() as closing:
        stage = Stage(servers, directory, closing)
        stage.clear()
        closing.callback(stage.clear)
        yield stage


def api(addresses: Mapping[str, str]) -> httpx.Client:
    """RabbitMQ's management API."""
    url = urlsplit(addresses["RABBITMQ_API_URL"])
    login = (url.username or "", url.password or "")
    return httpx.Client(base_url=f"http://{url.hostname}:{url.port}/api/", auth=login, timeout=30)


def _kept(contestant: Contestant) -> str:
    return f"kept_{contestant.home}"


def _named(servers: Servers) -> dict[str, Server]:
    return {"broker": servers.rabbitmq, "database": servers.postgresql, "redis": servers.redis}


def _address(url: str) -> str:
    return url.replace("postgres:", "postgresql:", 1)
