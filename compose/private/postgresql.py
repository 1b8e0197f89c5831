"""A private PostgreSQL with one database, on TCP alone: our path may exceed the 107 characters of a socket file's."""

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from compose.private.console import say
from compose.private.envfile import Secrets, write_private
from compose.private.ports import LOOPBACK, Ports
from compose.private.problems import Problem
from compose.private.process import Process, as_user, clean_environment
from compose.private.server import Server

NAME = "platform"  # of the database and of its owner
UNPRIVILEGED = "postgres"  # made by every distribution's package


class PostgreSQL(Server):
    name = "postgresql"

    @property
    def environment(self) -> dict[str, str]:
        return {"DATABASE_URL": f"postgres://{NAME}:{self._password}@{LOOPBACK}:{self._port}/{NAME}"}

    def is_ready(self) -> bool:
        arguments = ["--host", LOOPBACK, "--port", str(self._port), "--dbname", NAME, "--username", NAME, "--quiet"]
        return subprocess.run([self._program("pg_isready"), *arguments], check=False).returncode == 0

    def _configure(self, ports: Ports, secrets: Secrets) -> Process:
        self._port = ports.get("postgresql")
        self._password = secrets.get("POSTGRESQL_PASSWORD")
        self._user = UNPRIVILEGED if os.geteuid() == 0 else None  # it refuses to run as root
        self._folder = self._choose_folder()
        self._cluster = self._folder / "cluster"
        self._programs = self._find_programs()
        settings = (
            f"--listen_addresses={LOOPBACK}",
            f"--port={self._port}",
            "--unix_socket_directories=",
            "--max_connections=200",
        )
        return Process(
            self.name,
            [self._program("postgres"), "-D", self._cluster, *settings],
            directory=self.directory,
            environment=clean_environment(),
            cwd=Path("/"),
            user=self._user,
            stop_signal=signal.SIGINT,  # "fast": ends the sessions, where SIGTERM would wait for each to leave
        )

    def _find_programs(self) -> Path:
        """Those of the version that made the data, because no other can open it."""
        stamp = self._cluster / "PG_VERSION"
        version = stamp.read_text().strip() if stamp.exists() else None
        if (programs := find(version)) is None:
            wanted = f"PostgreSQL {version}, which made {self.data}," if version else "PostgreSQL"
            raise Problem(f"{wanted} is not installed. Install it, or delete the data with `make clean`.")
        return programs

    def _prepare(self) -> None:
        self._make_folder()
        if self._cluster.exists():
            return
        draft = self._folder / "draft"  # renamed when complete, so that an interrupted start leaves nothing half made
        shutil.rmtree(draft, ignore_errors=True)
        password = self._folder / "password"
        write_private(password, self._password)
        if self._user:
            shutil.chown(password, self._user)
        self._run("initdb", "-D", draft, "--username", NAME, "--pwfile", password, "--auth", "scram-sha-256",
                  "--encoding", "UTF8")  # fmt: skip
        self._run("postgres", "--single", "-D", draft, "postgres", stdin=f"CREATE DATABASE {NAME}\n")
        password.unlink()
        draft.rename(self._cluster)

    def _choose_folder(self) -> Path:
        """``data``, or the home of the account that runs the server where it can not reach ours, say below /root.

        That home survives a reboot and is nobody else's to prepare, unlike /var/tmp. ``data`` becomes a link to it.
        """
        if not self._user or self._can_reach(self.directory):
            return self.data
        key = hashlib.sha256(str(self.data).encode()).hexdigest()[:12]
        return Path(pwd.getpwnam(self._user).pw_dir, f"private-{key}")

    def _make_folder(self) -> None:
        if self._folder != self.data and not self.data.is_symlink():
            say(f"{self._user} can not reach {self.directory}: PostgreSQL's data goes to {self._folder}")
            self.data.symlink_to(self._folder)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if self._user:
            shutil.chown(self._folder, self._user, self._user)

    def _can_reach(self, folder: Path) -> bool:
        return subprocess.run(["test", "-x", folder], check=False, cwd="/", **as_user(self._user)).returncode == 0

    def _run(self, program: str, *arguments: str | Path, stdin: str = "") -> None:
        done = subprocess.run(
            [self._program(program), *arguments],
            input=stdin,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean_environment(),
            cwd="/",
            check=False,
            **as_user(self._user),
        )
        if done.returncode:
            raise Problem(f"{program} failed with {done.returncode}:\n\n{done.stdout}")

    def _program(self, name: str) -> str:
        return str(self._programs / name)


def find(version: str | None = None) -> Path | None:
    """Folder of the server's programs, the newest or the one of that major version; None when not installed.

    Distributions keep them off the PATH, a folder a version, because data belongs to one version.
    """
    pattern = version or "*"
    folders = [
        *Path("/usr/lib/postgresql").glob(f"{pattern}/bin"),
        *Path("/opt/homebrew/opt").glob(f"postgresql@{pattern}/bin"),
        *Path("/usr/local/opt").glob(f"postgresql@{pattern}/bin"),
    ]
    installed = [folder for folder in folders if (folder / "postgres").exists()]
    if installed:
        return max(installed, key=lambda folder: int("".join(filter(str.isdigit, folder.parent.name)) or 0))
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None
