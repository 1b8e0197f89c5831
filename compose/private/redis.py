"""A private Redis: live progress, rate limits and cache, none of which the platform's promises depend on."""

import shutil
import socket

from compose.private.envfile import Secrets, write_private
from compose.private.ports import LOOPBACK, Ports
from compose.private.process import Process, clean_environment
from compose.private.server import Server


class Redis(Server):
    name = "redis"

    @property
    def environment(self) -> dict[str, str]:
        return {"REDIS_URL": f"redis://:{self._password}@{LOOPBACK}:{self._port}/0"}

    def is_ready(self) -> bool:
        """Whether it has read its data back: until then it answers LOADING."""
        try:
            with socket.create_connection((LOOPBACK, self._port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = connection.makefile("rb")
                return (answer.readline(), answer.readline()) == (b"+OK\r\n", b"+PONG\r\n")
        except OSError:
            return False

    def _configure(self, ports: Ports, secrets: Secrets) -> Process:
        self._port = ports.get("redis")
        self._password = secrets.get("REDIS_PASSWORD")
        return Process(
            self.name,
            [find() or "redis-server", self.data / "redis.conf"],
            directory=self.directory,
            environment=clean_environment(),
            cwd=self.data,
        )

    def _prepare(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind": LOOPBACK,
            "port": self._port,
            "requirepass": self._password,  # in a file of our own, since `ps` shows a command line to everybody
            "dir": f'"{self.data}"',
            "save": '""',
            "appendonly": "yes",  # loses a second at most, where snapshots would lose minutes
        }
        write_private(self.data / "redis.conf", "".join(f"{key} {value}\n" for key, value in settings.items()))


def find() -> str | None:
    """Path of the server's program; None when it is not installed."""
    return shutil.which("redis-server") or shutil.which("valkey-server")
