"""The stage: private servers that all scenarios share, broken by each and mended after it."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connections

from compose.private.server import Server
from compose.private.servers import Servers, private_servers
from tasks import publisher
from tests.vhosts import vhost

TEMPLATE = "platform"


class Stage:
    """The servers, the migrated database that every scenario gets a copy of, and where everything is written."""

    def __init__(self, servers: Servers, directory: Path):
        self.servers = servers
        self.directory = directory

    def prepare(self) -> None:
        """Migrate the template, once."""
        use_database(self.servers.environment["DATABASE_URL"])
        call_command("migrate", verbosity=0)
        connections.close_all()

    def mend(self) -> None:
        """Whatever a scenario did to the servers is undone."""
        for server in self.servers:
            server.thaw()
            if not server.process.is_alive():
                server.start()

    def season(self, server: Server) -> None:
        """Restart in good order, so that young quorum queues are safely on disk before one is killed."""
        server.stop()
        server.start()

    @contextmanager
    def addresses(self, name: str) -> Iterator[dict[str, str]]:
        """BROKER_URL, DATABASE_URL and the rest of a vhost and a database that only this scenario knows."""
        values = self.servers.environment
        place = f"{name}-{uuid.uuid4().hex[:6]}"
        with vhost(values["BROKER_URL"], values["RABBITMQ_API_URL"], place) as broker_url:
            database_url = self._copy_database(place.replace("-", "_"))
            try:
                yield {**values, "BROKER_URL": broker_url, "DATABASE_URL": database_url}
            finally:
                self.mend()
                self._execute(f'DROP DATABASE "{urlsplit(database_url).path[1:]}" WITH (FORCE)')

    def _copy_database(self, name: str) -> str:
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE {TEMPLATE}')
        return urlsplit(self.servers.environment["DATABASE_URL"])._replace(path=f"/{name}").geturl()

    def _execute(self, statement: str) -> None:
        url = urlsplit(self.servers.environment["DATABASE_URL"])._replace(scheme="postgresql", path="/postgres")
        with psycopg.connect(url.geturl(), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]  # the names are our own


@contextmanager
def opened(directory: Path) -> Iterator[Stage]:
    """A stage with all its servers running, which are gone afterwards whatever happens."""
    place = os.environ.get("PRIVATE_SERVERS_DIRECTORY")
    with private_servers(Path(place) / "chaos" if place else directory / "servers", fresh=True) as servers:
        stage = Stage(servers, directory)
        stage.prepare()
        yield stage


def use_database(url: str) -> None:
    """Let this process, all its threads included, talk to another database."""
    connections.close_all()
    parts = urlsplit(url)
    connections.settings["default"].update(
        HOST=parts.hostname, PORT=parts.port, USER=parts.username, PASSWORD=parts.password, NAME=parts.path[1:]
    )


def use_broker(broker_url: str, api_url: str) -> None:
    """Let this process publish to another broker."""
    settings.CELERY_BROKER_URL, settings.TASKS_RABBITMQ_API_URL = broker_url, api_url
    publisher._after_fork()  # it keeps its connection; another broker needs another one
