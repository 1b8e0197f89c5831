"""Running the producers: installed once a checkout, under var/, by the lock beside them."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from compose.private import VAR
from compose.private.problems import Problem
from compose.private.process import run

SOURCE = Path(__file__).parent
INSTALLED = VAR / "javascript"
_LOCK = "package-lock.json"


def node(script: str, lines: Iterable[dict[str, Any]], **environment: str) -> list[Any]:
    """What ``script`` printed, as JSON lines, having read ``lines``. AssertionError with its words when it fails."""
    install()
    done = subprocess.run(
        ["node", script],
        input="".join(f"{json.dumps(line)}\n" for line in lines),
        env={**os.environ, **environment},
        cwd=INSTALLED,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def install() -> None:
    """Problem when npm fails; its own words are on the terminal by then."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    is_installed = (INSTALLED / "node_modules/.package-lock.json").exists() and (
        (INSTALLED / _LOCK).read_bytes() == (SOURCE / _LOCK).read_bytes()
    )
    for path in (*SOURCE.glob("*.js"), SOURCE / "package.json", SOURCE / _LOCK):
        shutil.copy(path, INSTALLED / path.name)
    if is_installed:
        return
    command = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    if run(command, cwd=INSTALLED):
        raise Problem(f"this failed: {' '.join(command)} in {INSTALLED}")
