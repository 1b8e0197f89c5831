"""Flower, beat and the demonstration, each as its own process."""

import json
import subprocess
import sys
import urllib.request
from base64 import b64encode
from urllib.error import HTTPError, URLError

import pytest

from tasks.api import enqueue
from tests.acceptance.conftest import ROOT
from tests.acceptance.seeing import ended
from tests.waiting import closed_port, wait_for


@pytest.fixture
def start(platform):
    """Starts `celery -A project …` processes that end with the test."""
    running: list[subprocess.Popen] = []

    def begin(*arguments: str, log, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "celery", "-A", "project", *arguments]
        with log.open("ab") as output:
            running.append(
                subprocess.Popen(command, env={**platform, **environment}, cwd=ROOT, stdout=output, stderr=output)
            )
        return running[-1]

    yield begin
    for process in running:
        process.terminate()
        process.wait(timeout=20)


def ask(port: int, path: str, login: str = "") -> int | dict:
    """The JSON answer, or the status of a refusal; 0 while nobody answers."""
    headers = {"Authorization": "Basic " + b64encode(login.encode()).decode()} if login else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)
    except HTTPError as error:
        return error.code
    except URLError:
        return 0


def sees_a_worker(port: int) -> bool:
    answer = ask(port, "/workers?json=1", "ada:secret")
    return isinstance(answer, dict) and bool(answer["data"])


def test_flower_shows_each_attempt_to_those_with_the_password(start, start_worker, tmp_path):
    port = closed_port()
    start(
        "flower", "--address=127.0.0.1", f"--port={port}", log=tmp_path / "flower.log", FLOWER_BASIC_AUTH="ada:secret"
    )  # fmt: skip
    wait_for(lambda: ask(port, "/api/tasks") == 401, "Flower to refuse a stranger")
    start_worker("-c", "1")
    wait_for(lambda: sees_a_worker(port), "Flower to hear of the worker")
    job = enqueue("probe.fail", {"how": "raise", "failures": 1})
    assert ended(job) == ["succeeded"]
    expected = {f"{job.pk}.1": "RETRY", f"{job.pk}.2": "SUCCESS"}

    def states() -> dict[str, str]:
        tasks = ask(port, "/api/tasks", "ada:secret")
        return {id: task["state"] for id, task in tasks.items() if id in expected} if isinstance(tasks, dict) else {}

    wait_for(lambda: states() == expected, "Flower to show both attempts")


def test_beat_starts_and_stops(start, tmp_path):
    log = tmp_path / "beat.log"
    beat = start("beat", "--loglevel", "INFO", "--schedule", str(tmp_path / "schedule"), log=log)
    wait_for(lambda: b"beat: Starting" in log.read_bytes() or beat.poll() is not None, "beat to start")
    assert beat.poll() is None, log.read_text()


def test_the_demonstration_finds_every_outcome_right(platform):
    command = [sys.executable, "manage.py", "demo"]
    done = subprocess.run(command, env=platform, cwd=ROOT, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 5 outcomes are as they should be." in done.stdout
