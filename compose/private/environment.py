"""The virtual environment ``.venv/``: filled from the hashed lock, and left alone while nothing has changed."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from compose.private import ROOT, VAR, signals, system
from compose.private.console import say
from compose.private.interpreter import OLDEST, TOO_NEW
from compose.private.locks import locked
from compose.private.problems import Problem
from compose.private.process import Command, run

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements" / "dev.txt"
PIP_INSTALL = ("-m", "pip", "--disable-pip-version-check", "--quiet", "install")


@dataclass(frozen=True)
class Stamp:
    """What an environment was made from. It can be filled anew, but neither moved nor given another Python."""

    folder: str
    python: str
    lock: str

    @classmethod
    def of(cls, venv: Path, python: str, lock: Path) -> "Stamp":
        return cls(str(venv), python, hashlib.sha256(lock.read_bytes()).hexdigest())

    @classmethod
    def read(cls, venv: Path) -> "Stamp | None":
        try:
            return cls(**json.loads((venv / "stamp.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, venv: Path) -> None:
        (venv / "stamp.json").write_text(json.dumps(asdict(self), indent=2) + "\n")

    def can_serve(self, venv: Path, python: str) -> bool:
        """Whether new packages are all it takes."""
        return (self.folder, self.python) == (str(venv), python)


def ensure() -> None:
    """Have ``.venv/`` agree with requirements/dev.txt. Problem with a remedy where that fails."""
    with locked(VAR / "environment.lock", lambda pid: say(f"waiting for pid {pid}, which prepares .venv too")):
        python, made = _python_version(), Stamp.read(VENV)
        if python and made == Stamp.of(VENV, python, LOCK):
            return
        if not python or (made and not made.can_serve(VENV, python)):
            _create()
        say("installing requirements/dev.txt into .venv, every hash checked; the first time takes a minute")
        if run([PYTHON, *PIP_INSTALL, "--require-hashes", "-r", LOCK], cwd=ROOT):
            raise Problem("pip could not install requirements/dev.txt: see above", exit_code=2)
        signals.check()
        Stamp.of(VENV, _python_version() or "", LOCK).write(VENV)


def _python_version() -> str | None:
    """Major and minor version inside ``.venv/``; None when there is no environment or its Python does not serve."""
    question = "import pip, sys; print(sys.version_info.major, sys.version_info.minor)"
    try:
        answer = subprocess.run([PYTHON, "-c", question], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    major, minor = map(int, answer.split())
    return f"{major}.{minor}" if OLDEST <= (major, minor) < TOO_NEW else None


def _create() -> None:
    say("creating .venv")
    if subprocess.run([sys.executable, "-c", "import ensurepip, venv"], check=False, capture_output=True).returncode:
        package = f"python3.{sys.version_info.minor}-venv"  # Debian and Ubuntu ship it apart
        if not system.can_install():
            raise Problem(f"{sys.executable} has no ensurepip: sudo apt-get install {package}", exit_code=2)
        system.apt_install([package])
    if run([sys.executable, "-m", "venv", "--clear", VENV], cwd=ROOT):
        raise Problem(f"could not create {VENV}: see above", exit_code=2)
    signals.check()


def lock_requirements(options: Sequence[str]) -> None:
    """Resolve requirements/*.in for every supported Python and system. A maintainers' tool, in an environment apart."""
    tools = VAR / "tools"
    folder = LOCK.parent
    uv: Command = [tools / "bin" / "uv", "pip", "compile", "--universal", "--generate-hashes", "--no-header",
          "--python-version", "3.11", "--no-emit-index-url", "--no-emit-find-links", *options]  # fmt: skip
    commands: list[Command] = [
        [sys.executable, "-m", "venv", tools],
        [tools / "bin" / "python", *PIP_INSTALL, "uv"],
        [*uv, "--quiet", "base.in", "-o", "base.txt"],
        [*uv, "--quiet", "-c", "base.txt", "dev.in", "-o", "dev.txt"],
    ]
    for command in commands:
        if run(command, cwd=folder):
            raise Problem(f"this failed: {' '.join(map(str, command))}")
        signals.check()
