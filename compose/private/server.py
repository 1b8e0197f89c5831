"""What RabbitMQ, PostgreSQL and Redis have in common: data, a process, a way to tell that they are ready."""

import shutil
from abc import ABC, abstractmethod
from pathlib import Path

from compose.private.envfile import Secrets
from compose.private.ports import Ports
from compose.private.process import Process, wait_until


class Server(ABC):
    """One private server with its data under ``directory/<name>``.

    Tests may break it at will: after ``kill``, ``stop`` or ``wipe``, ``start`` brings it back on the same ports.
    """

    name: str

    def __init__(self, directory: Path, ports: Ports, secrets: Secrets) -> None:
        self.directory = directory
        self.data = directory / self.name
        self.process = self._configure(ports, secrets)

    @property
    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The addresses under which the platform finds it."""

    @abstractmethod
    def is_ready(self) -> bool: ...

    @abstractmethod
    def _configure(self, ports: Ports, secrets: Secrets) -> Process:
        """Draw ports and passwords; nothing is written or started yet."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make what the process wants to find, where it is missing."""

    def launch(self) -> None:
        """Start without waiting, so that several servers boot at the same time."""
        self._prepare()
        self.process.start()

    def wait_until_ready(self, *, seconds: float = 90) -> None:
        wait_until(self.is_ready, self.process, seconds=seconds)

    def start(self) -> None:
        self.launch()
        self.wait_until_ready()

    def ask_to_stop(self) -> None:
        self.process.ask_to_stop()

    def stop(self) -> None:
        """End in good order; the data stays."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL, as a crash or the kernel's memory killer would; the data stays as it was at that moment."""
        self.process.kill()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing answers, until ``thaw``."""
        self.process.freeze()

    def thaw(self) -> None:
        self.process.thaw()

    def wipe(self) -> None:
        """Kill it and lose its disk; the next start begins with nothing."""
        self.kill()
        shutil.rmtree(self.data.resolve(), ignore_errors=True)  # PostgreSQL's may be a link
