"""The three servers together: started in parallel, used, stopped; for the launcher and for tests alike."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from compose.private import pids
from compose.private.console import say
from compose.private.envfile import Secrets
from compose.private.locks import locked
from compose.private.ports import Ports
from compose.private.postgresql import PostgreSQL
from compose.private.problems import Problem
from compose.private.rabbitmq import RabbitMQ
from compose.private.redis import Redis
from compose.private.server import Server

ALL = ("rabbitmq", "postgresql", "redis")  # in the order of their boot times, the longest first


class Servers:
    """Private servers of one directory. Only those asked for are there: another one is an AttributeError."""

    rabbitmq: RabbitMQ
    postgresql: PostgreSQL
    redis: Redis

    def __init__(self, directory: Path, which: Sequence[str] = ALL) -> None:
        ports, secrets = Ports(directory / "run" / "ports.json"), Secrets(directory / "run" / "secrets")
        kinds: dict[str, type[Server]] = {"rabbitmq": RabbitMQ, "postgresql": PostgreSQL, "redis": Redis}
        for name in which:
            setattr(self, name, kinds[name](directory, ports, secrets))
        self._servers: list[Server] = [getattr(self, name) for name in ALL if name in which]

    def __iter__(self) -> Iterator[Server]:
        return iter(self._servers)

    @property
    def environment(self) -> dict[str, str]:
        """BROKER_URL, RABBITMQ_API_URL, DATABASE_URL and REDIS_URL of the servers that are here."""
        return {key: value for server in self for key, value in server.environment.items()}

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


@contextmanager
def private_servers(directory: Path, which: Sequence[str] = ALL, *, fresh: bool = False) -> Iterator[Servers]:
    """Run the servers under ``directory`` for the length of a ``with`` block; their data stays for the next one.

    ``fresh`` starts from nothing and leaves no data behind. Problem when one is not installed, does not get ready or
    when another process runs servers in the same directory.
    """
    directory = directory.resolve()
    with held(directory), running(Servers(directory, which), fresh=fresh) as servers:
        yield servers


@contextmanager
def running(servers: Servers, *, fresh: bool = False) -> Iterator[Servers]:
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
