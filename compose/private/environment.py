"""Virtual environments: each filled from its hashed lock, and left alone while nothing has changed."""

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
PEERS = VAR / "bench" / "venv"
PEERS_LOCK = ROOT / "requirements" / "bench.txt"
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


def ensure(venv: Path = VENV, lock: Path = LOCK) -> None:
    """Have the environment agree with its lock; the platform's own where none is named. Problem with a remedy."""
    name, source = venv.relative_to(ROOT), lock.relative_to(ROOT)
    with locked(VAR / "environment.lock", lambda pid: say(f"waiting for pid {pid}, which prepares {name} too")):
        python, made = _python_version(venv), Stamp.read(venv)
        if python and made == Stamp.of(venv, python, lock):
            return
        if not python or (made and not made.can_serve(venv, python)):
            _create(venv)
        say(f"installing {source} into {name}, every hash checked; the first time takes a minute")
        if run([venv / "bin" / "python", *PIP_INSTALL, "--require-hashes", "-r", lock], cwd=ROOT):
            raise Problem(f"pip could not install {source}: see above", exit_code=2)
        signals.check()
        Stamp.of(venv, _python_version(venv) or "", lock).write(venv)


def _python_version(venv: Path) -> str | None:
    """Major and minor version inside the environment; None when there is none or its Python does not serve."""
    question = "import pip, sys; print(sys.version_info.major, sys.version_info.minor)"
    command: Command = [venv / "bin" / "python", "-c", question]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    major, minor = map(int, answer.split())
    return f"{major}.{minor}" if OLDEST <= (major, minor) < TOO_NEW else None


def _create(venv: Path) -> None:
    say(f"creating {venv.relative_to(ROOT)}")
    if subprocess.run([sys.executable, "-c", "import ensurepip, venv"], check=False, capture_output=True).returncode:
        package = f"python3.{sys.version_info.minor}-venv"  # Debian and Ubuntu ship it apart
        if not system.can_install():
            raise Problem(f"{sys.executable} has no ensurepip: sudo apt-get install {package}", exit_code=2)
        system.apt_install([package])
    if run([sys.executable, "-m", "venv", "--clear", venv], cwd=ROOT):
        raise Problem(f"could not create {venv}: see above", exit_code=2)
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
        [*uv, "--quiet", "-c", "base.txt", "kafka.in", "-o", "kafka.txt"],
        [*uv, "--quiet", "-c", "base.txt", "sqs.in", "-o", "sqs.txt"],
        [*uv, "--quiet", "-c", "base.txt", "dev.in", "-o", "dev.txt"],
        [*uv, "--quiet", "-c", "base.txt", "bench.in", "-o", "bench.txt"],
    ]
    for command in commands:
        if run(command, cwd=folder):
            raise Problem(f"this failed: {' '.join(map(str, command))}")
        signals.check()
