"""The three servers together: started in parallel, used, stopped; for the launcher and for tests alike."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from compose.private import pids
from compose.private.console import say
from compose.private.envfile import Secrets
from compose.private.locks import locked
from compose.private.ports import Ports
from compose.private.postgresql import PostgreSQL
from compose.private.problems import Problem
from compose.private.rabbitmq import RabbitMQ, Settings
from compose.private.redis import Redis
from compose.private.server import Server

ALL = ("rabbitmq", "postgresql", "redis")  # in the order of their boot times, the longest first


class Group:
    """Servers that start and stop together."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = servers

    def __iter__(self) -> Iterator[Server]:
        return iter(self._servers)

    def start(self) -> None:
        for server in self:
            server.launch()
        for server in self:
            server.wait_until_ready()

    def stop(self) -> None:
        for server in self:
            server.ask_to_stop()
        for server in self:
            server.stop()

    def wipe(self) -> None:
        for server in self:
            server.wipe()


AnyGroup = TypeVar("AnyGroup", bound=Group)


class Servers(Group):
    """Private servers of one directory. Only those asked for are there: another one is an AttributeError."""

    def __init__(self, directory: Path, which: Sequence[str] = ALL, rabbitmq_settings: Settings | None = None) -> None:
        ports, secrets = Ports(directory / "run" / "ports.json"), Secrets(directory / "run" / "secrets")
        if "rabbitmq" in which:
            self.rabbitmq = RabbitMQ(directory, ports, secrets, rabbitmq_settings or {})
        if "postgresql" in which:
            self.postgresql = PostgreSQL(directory, ports, secrets)
        if "redis" in which:
            self.redis = Redis(directory, ports, secrets)
        super().__init__([getattr(self, name) for name in ALL if name in which])

    @property
    def environment(self) -> dict[str, str]:
        """BROKER_URL, RABBITMQ_API_URL, DATABASE_URL and REDIS_URL of the servers that are here."""
        return {key: value for server in self for key, value in server.environment.items()}


@contextmanager
def private_servers(
    directory: Path, which: Sequence[str] = ALL, *, fresh: bool = False, rabbitmq_settings: Settings | None = None
) -> Iterator[Servers]:
    """Run the servers under ``directory`` for the length of a ``with`` block; their data stays for the next one.

    ``fresh`` starts from nothing and leaves no data behind. ``rabbitmq_settings`` are lines of rabbitmq.conf that win
    over ours. Problem when a server is not installed or does not get ready, and when another process runs servers in
    the same directory.
    """
    directory = directory.resolve()
    with held(directory), running(Servers(directory, which, rabbitmq_settings), fresh=fresh) as servers:
        yield servers


@contextmanager
def running(servers: AnyGroup, *, fresh: bool = False) -> Iterator[AnyGroup]:
    """Start them for the length of a ``with`` block whose directory is held already."""
    try:
        if fresh:
            servers.wipe()
        servers.start()
        yield servers
    finally:
        servers.stop()
        if fresh:
            servers.wipe()


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Have the directory to ourselves, after ending what a killed predecessor left running in it.

    Problem with the other's pid when it is taken.
    """

    def refuse(pid: str) -> None:
        raise Problem(f"already running in {directory}, pid {pid}: stop that one first")

    with locked(directory / "run" / "lock", refuse):
        if ended := pids.end_leftovers(directory / "run"):
            say(f"ended what an earlier run left behind: {', '.join(ended)}")
        for log in directory.glob("log/*.log"):
            log.replace(log.with_suffix(".log.1"))  # one earlier run is kept to read
        yield


def erase(directory: Path) -> None:
    """Delete a directory that nobody holds, with what still runs in it or in one below, and data that it links to."""
    for run in directory.glob("**/run/"):
        pids.end_leftovers(run)
    for data in directory.glob("**/postgresql"):
        shutil.rmtree(data.resolve())
    shutil.rmtree(directory, ignore_errors=True)
