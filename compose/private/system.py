"""Programs that are no Python: found, or installed by the system's package manager."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compose.private import ROOT, nginx, postgresql, process, rabbitmq, redis
from compose.private.console import say
from compose.private.problems import Problem


@dataclass(frozen=True)
class Package:
    """What to install for one program, and how to see that it is there."""

    name: str
    apt: str
    brew: str
    find: Callable[[], object | None]
    units: tuple[str, ...]


PACKAGES = (
    Package("rabbitmq", "rabbitmq-server", "rabbitmq", rabbitmq.find, ("rabbitmq-server.service", "epmd.socket")),
    Package("postgresql", "postgresql", "postgresql@17", postgresql.find, ("postgresql.service",)),
    Package("redis", "redis-server", "redis", redis.find, ("redis-server.service",)),
    Package("nginx", "nginx", "nginx", nginx.find, ("nginx.service",)),  # before the site of some tests
    Package("node", "nodejs", "node", lambda: shutil.which("node"), ()),  # the TypeScript client's, as npm
    Package("npm", "npm", "npm", lambda: shutil.which("npm"), ()),
    Package("wrk", "wrk", "wrk", lambda: shutil.which("wrk"), ()),  # the load of `make bench`; no server
)

# invoke-rc.d, and so every Debian package, asks this program before it starts a service; 101 means no.
POLICY = Path("/usr/sbin/policy-rc.d")
REFUSAL = "#!/bin/sh\nexit 101\n"
NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/no-main-cluster.conf")


def ensure_installed(names: Sequence[str]) -> None:
    """Install what is missing, without starting a service. Problem with the commands to type where we may not."""
    missing = [package for package in PACKAGES if package.name in names and not package.find()]
    if not missing:
        return
    if not shutil.which("apt-get") or (root := _become_root()) is None:
        raise Problem(remedy(missing), exit_code=2)
    packages = [package.apt for package in missing]
    say(f"installing {', '.join(packages)} with apt-get, which may take minutes; no service is started or enabled")
    with _file(root, POLICY, REFUSAL, mode="755"), _file(root, NO_CLUSTER, "create_main_cluster = false\n", mode="644"):
        apt_install(packages)
    units = [unit for package in missing for unit in package.units]
    if units and shutil.which("systemctl"):
        subprocess.run([*root, "systemctl", "disable", "--quiet", *units], check=False, stderr=subprocess.DEVNULL)
    if still := [package for package in missing if not package.find()]:
        raise Problem(remedy(still), exit_code=2)


def remedy(missing: Sequence[Package]) -> str:
    """Three ways out, to be copied into a terminal."""
    return "\n".join(
        (
            f"not installed: {', '.join(package.name for package in missing)}. One of these brings it:",
            f"  sudo apt-get install {' '.join(package.apt for package in missing)}",
            f"  brew install {' '.join(package.brew for package in missing)}",
            "  docker compose -f compose/local.yml up    (the whole platform in containers, instead of this command)",
        )
    )


def can_install() -> bool:
    return shutil.which("apt-get") is not None and _become_root() is not None


def apt_install(names: Sequence[str]) -> None:
    """Problem when apt-get fails; its own words are on the terminal by then."""
    apt = [*(_become_root() or ()), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    for command in ([*apt, "update"], [*apt, "install", "--yes", "--no-install-recommends", *names]):
        if process.run(command, cwd=ROOT, quiet=True):
            raise Problem(f"this failed: {' '.join(command)}", exit_code=2)


def _become_root() -> list[str] | None:
    """What to put before a command that needs root; None when that would take a password."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], check=False, capture_output=True).returncode == 0:
        return [sudo, "-n"]
    return None


@contextmanager
def _file(root: Sequence[str], path: Path, text: str, *, mode: str) -> Iterator[None]:
    """Have a system file for the length of a ``with`` block; one that is there already is left as it is."""
    if path.exists():
        yield
        return
    with tempfile.NamedTemporaryFile("w") as draft:
        draft.write(text)
        draft.flush()
        subprocess.run([*root, "install", "-D", "-m", mode, draft.name, path], check=True)
    try:
        yield
    finally:
        subprocess.run([*root, "rm", "-f", path], check=True)
