"""The stage: private servers that all scenarios share, broken by each and mended after it."""

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connections

from compose.private.cluster import Cluster, private_cluster
from compose.private.rabbitmq import Node
from compose.private.servers import Servers, private_servers
from tasks import brokers, publisher

TEMPLATE = "platform"
BROKER_DEFAULTS = {  # in milliseconds; the first as compose/private/rabbitmq.py sets it
    "consumer_timeout": 3_600_000,
    "channel_tick_interval": 60_000,
    "dead_letter_worker_publisher_confirm_timeout": 180_000,
}
Addresses = dict[str, str]


class Stage:
    """The servers, the migrated database that every scenario gets a copy of, and where everything is written.

    The three nodes of the cluster are too much company for a small machine: they run while scenarios ask for them.
    """

    def __init__(self, servers: Servers, directory: Path, servers_directory: Path):
        self.servers = servers
        self.directory = directory
        self.cluster: Cluster | None = None
        self._servers_directory = servers_directory
        self._clusters = ExitStack()

    def prepare(self) -> None:
        """Migrate the template, once."""
        use_database(self.servers.environment["DATABASE_URL"])
        call_command("migrate", verbosity=0)
        connections.close_all()

    def close(self) -> None:
        self.cluster = None
        self._clusters.close()

    def mend(self) -> None:
        """Whatever a scenario did to the servers is undone."""
        nodes: list[Node] = self.cluster.nodes if self.cluster else []
        for server in (*self.servers, *nodes):
            server.thaw()
            if not server.process.is_alive():
                server.start()
        if self.cluster:
            self.cluster.wait_until_whole()

    @contextmanager
    def broker_set(self, values: Mapping[str, int]) -> Iterator[None]:
        """Settings of the single node that whatever is declared or opened meanwhile goes by."""
        self._set_broker(values)
        try:
            yield
        finally:
            self.mend()
            self._set_broker({name: BROKER_DEFAULTS[name] for name in values})

    def _set_broker(self, values: Mapping[str, int]) -> None:
        for name, value in values.items():
            self.servers.rabbitmq.evaluate(f"application:set_env(rabbit, {name}, {value})")

    def season(self) -> None:
        """Restart RabbitMQ in good order, so that young quorum queues are safely on disk before it is killed."""
        broker = brokers.connect()
        broker.apply_topology()
        broker.close()
        self.servers.rabbitmq.stop()
        self.servers.rabbitmq.start()

    @contextmanager
    def addresses(self, name: str, *, cluster: bool) -> Iterator[Addresses]:
        """BROKER_URL, DATABASE_URL and the rest of a vhost and a database that only this scenario knows."""
        place = f"{name}-{uuid.uuid4().hex[:6]}"
        values = {**self.servers.environment, **(self._with_cluster(cluster) or {})}
        values["BROKER_URL"] = ";".join(_with_path(url, place) for url in values["BROKER_URL"].split(";"))
        values["DATABASE_URL"] = _with_path(values["DATABASE_URL"], place)
        make_vhost(values)
        self._execute(f'CREATE DATABASE "{place}" TEMPLATE {TEMPLATE}')
        try:
            yield values
        finally:
            self._execute(f'DROP DATABASE "{place}" WITH (FORCE)')
            drop_vhost(values)

    def _with_cluster(self, wanted: bool) -> Addresses | None:
        if not wanted:
            self.close()
        elif self.cluster is None:
            self.cluster = self._clusters.enter_context(
                private_cluster(self._servers_directory / "cluster", fresh=True)
            )
        return self.cluster.environment if self.cluster else None

    def _execute(self, statement: str) -> None:
        url = _with_path(self.servers.environment["DATABASE_URL"], "postgres").replace("postgres:", "postgresql:", 1)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]  # the names are our own


@contextmanager
def opened(directory: Path) -> Iterator[Stage]:
    """A stage with its servers running, which are gone afterwards whatever happens."""
    place = os.environ.get("PRIVATE_SERVERS_DIRECTORY")
    servers_directory = Path(place) / "chaos" if place else directory / "servers"
    with private_servers(servers_directory / "single", fresh=True) as servers:
        stage = Stage(servers, directory, servers_directory)
        try:
            stage.prepare()
            yield stage
        finally:
            stage.close()


def make_vhost(values: Addresses) -> None:
    """The vhost that BROKER_URL names, with all rights for its user."""
    user = urlsplit(values["BROKER_URL"].split(";")[0]).username
    with _api(values) as api:
        api.put(f"vhosts/{_vhost(values)}").raise_for_status()
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        api.put(f"permissions/{_vhost(values)}/{user}", json=rights).raise_for_status()


def drop_vhost(values: Addresses) -> None:
    """Away with it, and no matter if it is gone."""
    with _api(values) as api, suppress(httpx.HTTPError):
        api.delete(f"vhosts/{_vhost(values)}")


def use_database(url: str) -> None:
    """Let this process, all its threads included, talk to another database."""
    connections.close_all()
    parts = urlsplit(url)
    connections.settings["default"].update(
        HOST=parts.hostname, PORT=parts.port, USER=parts.username, PASSWORD=parts.password, NAME=parts.path[1:]
    )


def use_broker(values: Addresses) -> None:
    """Let this process publish to another broker."""
    settings.CELERY_BROKER_URL, settings.TASKS_RABBITMQ_API_URL = values["BROKER_URL"], values["RABBITMQ_API_URL"]
    publisher._after_fork()  # it keeps its connection; another broker needs another one


def _api(values: Addresses) -> httpx.Client:
    url = urlsplit(values["RABBITMQ_API_URL"].split(";")[0])
    login = (url.username or "", url.password or "")
    return httpx.Client(base_url=f"http://{url.hostname}:{url.port}/api/", auth=login, timeout=30)


def _vhost(values: Addresses) -> str:
    return urlsplit(values["BROKER_URL"].split(";")[0]).path[1:]


def _with_path(url: str, path: str) -> str:
    return urlsplit(url)._replace(path=f"/{path}").geturl()
