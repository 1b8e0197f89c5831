"""``make lint``: every check, all of them even when one fails."""

import os
import shutil
import subprocess
from pathlib import Path

from compose.private import ROOT
from compose.private.console import say
from compose.private.environment import PYTHON, VENV
from compose.private.process import run

# Settings must import; nothing is connected to.
ENVIRONMENT = {"SECRET_KEY": "lint", "DATABASE_URL": "sqlite://:memory:", "BROKER_URL": "memory://"}

CHECKS: tuple[tuple[str, ...], ...] = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
)


def failures() -> list[str]:
    """Run all checks; the command lines of those that failed."""
    environment = {**os.environ, **ENVIRONMENT}
    failed = []
    for name, *arguments in CHECKS:
        say(" ".join((name, *arguments)))
        if run([VENV / "bin" / name, *arguments], cwd=ROOT, environment=environment):
            failed.append(" ".join((name, *arguments)))
    return failed + [path.name for path in sorted((ROOT / "compose").glob("*.yml")) if not is_valid(path)]


def is_valid(path: Path) -> bool:
    """Whether a compose file is one, by docker compose where there is one, else whether it is YAML at all."""
    if _succeeds(["docker", "compose", "version"]):
        command = ["docker", "compose", "-f", str(path), "config", "--quiet"]
    elif _succeeds([str(PYTHON), "-c", "import yaml"]):
        command = [str(PYTHON), "-c", "import sys, yaml; yaml.safe_load(open(sys.argv[1]))", str(path)]
    else:
        say(f"{path.name} is not checked: there is neither docker compose nor PyYAML here")
        return True
    say(" ".join(command))
    return run(command, cwd=ROOT) == 0


def _succeeds(command: list[str]) -> bool:
    return bool(shutil.which(command[0])) and subprocess.run(command, check=False, capture_output=True).returncode == 0
