"""The platform's own processes. What each runs stands in compose/django/start, which the containers call too."""

import os
from collections.abc import Mapping
from pathlib import Path

from compose.private import ROOT
from compose.private.environment import PYTHON, VENV
from compose.private.process import Command, Process

# Celery warns at length about root, which a private platform on loopback may well be, in a container or a new machine.
ROOT_IS_FINE = "ignore:You're running the worker with superuser"
START = ROOT / "compose" / "django" / "start"


def preparation(directory: Path, environment: Mapping[str, str]) -> list[Process]:
    """Commands to be run to their end, one after the other, before anything else starts."""
    collect = _process("collectstatic", [PYTHON, "manage.py", "collectstatic", "--no-input"], directory, environment)
    return [collect, _process("prepare", [START, "prepare"], directory, environment)]


def programs(directory: Path, environment: Mapping[str, str]) -> dict[str, Process]:
    """The processes that stay, by name, in the order of their start."""
    names = ("web", "streams", "worker-fast", "worker-heavy", "beat", "flower")
    return {name: _process(name, [START, name], directory, environment) for name in names}


def _process(name: str, command: Command, directory: Path, environment: Mapping[str, str]) -> Process:
    path = f"{VENV / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return Process(
        name,
        command,
        directory=directory,
        environment={**environment, "PATH": path, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": ROOT_IS_FINE},
        cwd=ROOT,
        grace_seconds=30,  # a worker finishes the jobs it has begun
    )
