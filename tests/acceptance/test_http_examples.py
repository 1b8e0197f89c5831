"""docs/http-api.md, read as a user reads it: each example is run as it stands there, and its jobs succeed."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compose.private import typescript
from tasks.models import ApiToken, Job
from tests.acceptance.site import Server
from tests.unit.media.pictures import encoded, four_corners
from tests.waiting import wait_for

OWNER = "token:examples"
FINAL = {"succeeded", "dead", "cancelled"}


@pytest.fixture
def site(
    platform: dict[str, str], start_worker: Callable, start_server: Callable[..., Server], tmp_path: Path
) -> Iterator[dict[str, str]]:
    """What an example finds in its environment; a picture lies where it is run."""
    start_worker("-c", "2")
    token, text = ApiToken.issue("examples", ["jobs:read", "jobs:write"])
    (tmp_path / "cat.png").write_bytes(encoded(four_corners(), "png"))
    yield {**os.environ, "API": start_server("web").url, "TOKEN": text}
    token.delete()


def run(command: list[str | Path], text: str | None, site: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        command, input=text, env=site, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def assert_all_succeeded(tasks: set[str]) -> None:
    jobs = Job.objects.filter(requested_by=OWNER)
    wait_for(lambda: set(jobs.values_list("state", flat=True)) <= FINAL, "the jobs' ends")
    assert [(job.task, job.error) for job in jobs.exclude(state="succeeded")] == []
    assert set(jobs.values_list("task", flat=True)) >= tasks


EVERY_TASK = {"email.send", "sms.send", "push.send", "report.render", "image.process"}


def test_what_is_typed_into_a_shell_works(site, tmp_path):
    examples = [text for text in typescript.examples("sh") if "curl" in text]
    assert len(examples) == 8
    for text in examples:
        run(["bash", "-e"], text, site, tmp_path)
    assert_all_succeeded(EVERY_TASK)


def test_the_python_examples_work(site, tmp_path):
    examples = list(typescript.examples("python"))
    assert len(examples) == 8
    for text in examples:
        run([sys.executable, "-"], text, site, tmp_path)
    assert_all_succeeded(EVERY_TASK)


def test_the_typescript_examples_work(site, tmp_path):
    built = typescript.build()
    examples = sorted(built.glob("example-*.js"))
    assert len(examples) == 8
    for example in examples:
        run(["node", example], None, site, tmp_path)
    assert_all_succeeded(EVERY_TASK)
