"""The platform's processes as a scenario meets them: things to kill, freeze and start again."""

import os
import resource
import signal
import socket
import sys
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from compose.private import pids
from compose.private.ports import answers
from compose.private.process import Command, Process, wait_until
from compose.private.programs import START

ROOT = Path(__file__).resolve().parents[2]


class PlatformProcess(ABC):
    """One worker or web process. Nobody starts it again but the scenario, so one that ends by itself is noticed."""

    def __init__(self, name: str, command: Command, directory: Path, environment: Mapping[str, str]):
        self.name = name
        self.environment = {**environment, "PYTHONUNBUFFERED": "1"}
        self._command = command
        self._directory = directory
        self._wanted = False
        self._begin_of_log = 0
        self._renew()

    def launch(self) -> None:
        """Start without waiting."""
        self._renew()
        self._begin_of_log = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._wanted = True
        self._process.start()

    def wait_until_ready(self) -> None:
        wait_until(self.is_ready, self._process, seconds=120)

    def start(self) -> None:
        self.launch()
        self.wait_until_ready()

    @abstractmethod
    def is_ready(self) -> bool: ...

    @property
    def pid(self) -> int:
        assert self._process.pid, f"{self.name} is not running"
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.exit_code

    @property
    def ended_by_itself(self) -> bool:
        return self._wanted and not self._process.is_alive()

    @property
    def children(self) -> list[int]:
        return [entry.pid for entry in pids.table().values() if entry.parent == self.pid]

    @property
    def log_path(self) -> Path:
        return self._process.log

    def log(self) -> str:
        """What it has said since it was last started."""
        return self.log_path.read_bytes()[self._begin_of_log :].decode(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """A signal to the main process alone, as an operator or the kernel would send it. It may end of it."""
        self._wanted = self._wanted and number in (signal.SIGSTOP, signal.SIGCONT)
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to the main process alone, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self.wait()

    def wait(self, *, seconds: float = 60) -> None:
        """Until it has ended."""
        from tests.waiting import wait_for

        self._wanted = False
        wait_for(lambda: not self._process.is_alive(), f"{self.name} to end", seconds)

    def freeze(self) -> None:
        """The whole family stands still, like a virtual machine that is moved."""
        self._process.freeze()

    def thaw(self) -> None:
        self._process.thaw()

    def limit_files(self, size_bytes: int) -> None:
        """Let it and its children write no file past ``size_bytes``; -1 lifts the limit. A full disk without root."""
        limit = resource.RLIM_INFINITY if size_bytes < 0 else size_bytes
        for pid in (self.pid, *self.children):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def ask_to_end(self) -> None:
        self._wanted = False
        self._process.ask_to_stop()

    def end(self) -> None:
        """Gone, with all its family."""
        self._wanted = False
        self._process.stop()

    def _renew(self) -> None:
        self._process = Process(
            self.name, self._command, directory=self._directory, environment=self.environment, cwd=ROOT, grace_seconds=8
        )


class Worker(PlatformProcess):
    def __init__(self, name: str, directory: Path, environment: Mapping[str, str], *, options: Command = ("-c", "2")):
        command = [sys.executable, "-m", "celery", "-A", "project", "worker", "-n", f"{name}@%h", "-l", "INFO"]
        super().__init__(name, [*command, *options], directory, environment)

    def is_ready(self) -> bool:
        return " ready." in self.log()


class Web(PlatformProcess):
    """The web server with one worker of eight threads, on a port of its own."""

    def __init__(self, name: str, directory: Path, environment: Mapping[str, str], *, port: int):
        self.url = f"http://127.0.0.1:{port}"
        path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
        values = {**environment, "PATH": path, "PORT": str(port), "WEB_WORKERS": "1", "WEB_THREADS": "8"}
        super().__init__(name, [START, "web"], directory, values)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health/live", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL to the server and its worker at once: the machine is gone."""
        self._wanted = False
        self._process.kill()


class Flower(PlatformProcess):
    """Flower, on a port of its own."""

    def __init__(self, directory: Path, environment: Mapping[str, str], *, port: int):
        self._port = port
        path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
        values = {**environment, "PATH": path, "FLOWER_PORT": str(port), "FLOWER_BASIC_AUTH": "ada:secret"}
        super().__init__("flower", [START, "flower"], directory, values)

    def is_ready(self) -> bool:
        return answers(self._port)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
