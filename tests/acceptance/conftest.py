"""The whole platform as processes: RabbitMQ, PostgreSQL and `celery worker`, on rows that are really committed."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.db.backends.base.creation import TEST_DATABASE_PREFIX
from django.test.utils import setup_databases, teardown_databases

from tasks import publisher
from tasks.models import WorkerProcess
from tests.acceptance.site import Server, answers
from tests.vhosts import vhost
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def committed(django_db_setup, django_db_blocker) -> Iterator[None]:
    """The test database without a transaction around the test: other processes see every row."""
    with django_db_blocker.unblock():
        # pytest-django makes the database when a selected test has its mark. Ours may not have it: alone they make one.
        is_made = connection.settings_dict["NAME"].startswith((TEST_DATABASE_PREFIX, "file:memory"))
        made = [] if is_made else setup_databases(0, interactive=False)
        yield
        if made:
            teardown_databases(made, 0)


@pytest.fixture(scope="module")
def platform(committed, tmp_path_factory) -> Iterator[dict[str, str]]:
    """The environment of this module's processes: the test database, and a vhost of its own."""
    database = connection.settings_dict
    url = (
        f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
        if connection.vendor == "postgresql"
        else f"sqlite:///{database['NAME']}"
    )
    name = f"test-{uuid.uuid4().hex[:12]}"
    before = django_settings.CELERY_BROKER_URL
    with vhost(before, django_settings.TASKS_RABBITMQ_API_URL, name) as broker_url:
        django_settings.CELERY_BROKER_URL = broker_url
        use_fresh_publisher()
        yield {
            **os.environ,
            "BROKER_URL": broker_url,
            "DATABASE_URL": url,
            "EXTRA_APPS": "tests.probes,project.demo",
            "RELAY_GRACE_SECONDS": "2",
            "WORKER_STALE_SECONDS": "8",
        }
        publisher.flush(5)
        django_settings.CELERY_BROKER_URL = before
        use_fresh_publisher()


def use_fresh_publisher() -> None:
    """The process's publisher keeps its connection; after BROKER_URL changed it needs another."""
    publisher._after_fork()


class Worker:
    """One `celery worker` process, with its log."""

    def __init__(self, environment: dict[str, str], log: Path, *options: str):
        self.name = f"w{uuid.uuid4().hex[:6]}"
        self.log = log
        command = [sys.executable, "-m", "celery", "-A", "project", "worker", "-n", f"{self.name}@%h", "-l", "INFO"]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, *options], env=environment, cwd=ROOT, stdout=output, stderr=output, process_group=0
            )

    def wait_until_ready(self) -> None:
        wait_for(lambda: self._ready() or self.process.poll() is not None, f"worker {self.name}")
        assert self.process.poll() is None, self.log.read_text()[-3000:]

    def _ready(self) -> bool:
        return b"ready." in self.log.read_bytes()

    @property
    def row(self) -> WorkerProcess:
        return WorkerProcess.objects.get(name__startswith=f"{self.name}@")

    def kill(self) -> None:
        """SIGKILL to the main process alone, as an operator or the kernel would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit code; by force after 30 s."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        return self.process.returncode


@pytest.fixture
def start_worker(platform, tmp_path) -> Iterator[Callable[..., Worker]]:
    """Starts workers that end with the test: ``start_worker("-c", "1")``."""
    workers: list[Worker] = []

    def start(*options: str, **environment: str) -> Worker:
        log = tmp_path / f"worker-{len(workers)}.log"
        worker = Worker({**platform, **environment}, log, *(options or ("-c", "2")))
        workers.append(worker)
        worker.wait_until_ready()
        return worker

    yield start
    for worker in workers:
        worker.stop()


@pytest.fixture(scope="module")
def worker(platform, tmp_path_factory) -> Iterator[Worker]:
    """One worker for all tests of a module that do it no harm."""
    running = Worker(platform, tmp_path_factory.mktemp("worker") / "worker.log", "-c", "2")
    try:
        running.wait_until_ready()
        yield running
    finally:
        code = running.stop()
    assert code == 0, running.log.read_text()[-3000:]


@pytest.fixture
def start_server(platform, tmp_path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(what: str, **environment: str) -> Server:
        server = Server(what, what, {**platform, **environment}, tmp_path)
        servers.append(server)
        wait_for(lambda: answers(server.url), what)
        return server

    yield start
    for server in servers:
        server.process.kill()
