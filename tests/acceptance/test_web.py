"""The web server as `make up` and the containers start it: what happens to requests when its processes end."""

import http.client
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compose.private import pids
from compose.private.process import Process
from compose.private.programs import START
from tasks import brokers
from tasks.models import ApiToken, Job
from tests.acceptance.conftest import ROOT
from tests.waiting import closed_port, wait_for


class Web:
    """`compose/django/start web` on a port of its own, with two workers."""

    def __init__(self, environment: dict[str, str], directory: Path):
        self.port = closed_port()
        path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
        values = {**environment, "PATH": path, "PORT": str(self.port), "WEB_WORKERS": "2"}
        self.process = Process("web", [START, "web"], directory=directory, environment=values, cwd=ROOT)
        self.process.start()

    @property
    def workers(self) -> set[int]:
        return {entry.pid for entry in pids.table().values() if entry.parent == self.process.pid}

    def answers(self) -> bool:
        try:
            return self.ask("GET", "/health/live")[0] == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@pytest.fixture
def web(platform, tmp_path) -> Iterator[Web]:
    brokers.connect().apply_topology()
    running = Web(platform, tmp_path)
    try:
        wait_for(running.answers, "the web server")
        yield running
    finally:
        running.process.kill()


@pytest.fixture
def post(web) -> Iterator[Callable[[], str | None]]:
    """Posts one job and returns its id; None where the connection was refused or broken."""
    token, text = ApiToken.issue("web", ["jobs:write"])
    body = json.dumps({"task": "probe.echo", "payload": {"text": "x"}})
    headers = {"Authorization": f"Bearer {text}", "Content-Type": "application/json"}

    def send() -> str | None:
        try:
            status, answer = web.ask("POST", "/api/v1/jobs", body, **headers)
        except (OSError, http.client.HTTPException):
            return None
        assert status == 202, answer
        return json.loads(answer)["id"]

    yield send
    token.delete()


class Clients:
    """Threads that post until they are told to stop, and remember what was accepted."""

    def __init__(self, post: Callable[[], str | None], count: int = 6):
        self.accepted: list[str] = []
        self._post = post
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]

    def _run(self) -> None:
        while not self._stop.is_set():
            if job_id := self._post():
                self.accepted.append(job_id)

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        wait_for(lambda: len(self.accepted) > 20, "the clients to be under way")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def published() -> int:
    return brokers.connect().depth("work-queue")


def stored() -> set[str]:
    return {str(id) for id in Job.objects.values_list("id", flat=True)}


def test_a_stop_answers_every_request_that_it_has_begun(web, post):
    before, waiting = stored(), published()
    with Clients(post) as clients:
        web.process.ask_to_stop()
        wait_for(lambda: not web.process.is_alive(), "the server to end")
    assert web.process.exit_code == 0
    assert set(clients.accepted) == stored() - before
    wait_for(lambda: published() - waiting == len(clients.accepted), "the last messages to be published", 5)


def test_a_killed_worker_is_replaced_and_what_was_accepted_is_there(web, post):
    before, victim = stored(), min(web.workers)
    with Clients(post) as clients:
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: len(web.workers - {victim}) == 2, "another worker")
        accepted = len(clients.accepted)
        wait_for(lambda: len(clients.accepted) > accepted + 20, "the clients to be served")
    assert set(clients.accepted) <= stored() - before


def test_workers_end_with_a_killed_server(web):
    workers = web.workers
    assert web.process.pid
    os.kill(web.process.pid, signal.SIGKILL)
    wait_for(lambda: not workers & set(pids.table()), "the orphans to end")
    assert not web.answers()
