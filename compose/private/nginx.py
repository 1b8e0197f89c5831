"""The load balancer of production, as a private process on loopback: compose/nginx/nginx.conf with other addresses."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from compose.private import ROOT
from compose.private.ports import LOOPBACK
from compose.private.problems import Problem
from compose.private.process import Command, Process

CONFIGURATION = ROOT / "compose" / "nginx" / "nginx.conf"


def find() -> str | None:
    """The program; Debian keeps it where only root looks."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin")


def balancer(directory: Path, port: int, upstreams: Mapping[str, int]) -> Process:
    """nginx on ``port``, as configured for production, with each server of ``upstreams`` ("api-1") at a port of this
    machine. Problem where nginx is not installed."""
    program = find()
    if program is None:
        raise Problem("nginx is not installed: sudo apt-get install nginx", exit_code=2)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "nginx.conf"
    path.write_text(configuration(directory, port, upstreams))
    globally = "daemon off; error_log stderr;" + (" user root;" if os.getuid() == 0 else "")
    command: Command = [program, "-p", directory, "-c", path, "-g", globally]
    return Process("nginx", command, directory=directory, environment=os.environ, cwd=directory)


def configuration(directory: Path, port: int, upstreams: Mapping[str, int]) -> str:
    text = CONFIGURATION.read_text().replace("listen 8080;", f"listen {LOOPBACK}:{port};")
    text = text.replace(" /tmp/", f" {directory}/").replace("worker_processes auto;", "worker_processes 1;")
    return re.sub(r"server ([\w-]+):\d+", lambda found: f"server {LOOPBACK}:{upstreams[found[1]]}", text)
