"""Erlang's name daemon, which tells RabbitMQ nodes each other's ports: a private one for each directory."""

import shutil
from pathlib import Path

from compose.private.ports import LOOPBACK, Ports, answers
from compose.private.process import Process, clean_environment, wait_until


class Epmd:
    """A node that finds none starts one that outlives it, with a pid that nobody knows; so this comes first."""

    def __init__(self, directory: Path, ports: Ports) -> None:
        self._port = ports.get("epmd")
        self.environment = {"ERL_EPMD_ADDRESS": LOOPBACK, "ERL_EPMD_PORT": str(self._port)}
        self._process = Process(
            "epmd",
            [shutil.which("epmd") or "epmd", "-port", str(self._port), "-address", LOOPBACK],
            directory=directory,
            environment=clean_environment(**self.environment),
            cwd=directory,
            grace_seconds=5,
        )

    def start(self) -> None:
        """Have it running; whoever calls again changes nothing."""
        if not self._process.is_alive():
            self._process.start()
            wait_until(lambda: answers(self._port), self._process, seconds=10)

    def stop(self) -> None:
        self._process.stop()

    def kill(self) -> None:
        self._process.kill()
