"""The command line: one function a command, whose docstring is its help."""

import argparse
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from compose.private import ROOT, VAR, environment, lint, pids, signals, system, typescript, up
from compose.private.console import say
from compose.private.envfile import Secrets
from compose.private.problems import Problem
from compose.private.process import run
from compose.private.servers import ALL, erase, held, private_servers

FOR_TESTS = ("nginx", *typescript.NEEDS)


def run_up(arguments: Sequence[str]) -> int:
    """run the whole platform until Ctrl-C"""
    up.up()
    return 0


def run_servers(arguments: Sequence[str]) -> int:
    """run RabbitMQ, PostgreSQL and Redis alone until Ctrl-C, their addresses in var/run/platform.env"""
    system.ensure_installed(ALL)
    with private_servers(VAR) as servers, up.written(up.ADDRESSES, servers.environment):
        say(f"RabbitMQ, PostgreSQL and Redis are ready; their addresses: {up.ADDRESSES}")
        while not signals.requested():
            time.sleep(0.2)
        say("stopping; a second Ctrl-C kills at once")
    return 0


def run_test(arguments: Sequence[str]) -> int:
    """run pytest, with fresh servers of its own; arguments are pytest's"""
    environment.ensure()
    system.ensure_installed((*ALL, *FOR_TESTS))
    return _run_with_servers(VAR / "test", [environment.PYTHON, "-m", "pytest", *arguments], apps="tests.probes")


def run_demo(arguments: Sequence[str]) -> int:
    """run the main kinds of jobs end to end, with fresh servers of its own"""
    return _run_with_servers(VAR / "demo", [environment.PYTHON, "manage.py", "demo", *arguments], apps="project.demo")


def run_chaos(arguments: Sequence[str]) -> int:
    """break things under load, with fresh servers of its own; --list names the scenarios, --help the options"""
    environment.ensure()
    system.ensure_installed(ALL)
    with held(VAR / "chaos"):
        return _run_marked([environment.PYTHON, "-m", "tests.chaos", *arguments], VAR / "chaos" / "servers", {})


def run_bench(arguments: Sequence[str]) -> int:
    """measure the platform beside its peers, on servers of its own; --list names the contests, --help the options"""
    environment.ensure()
    environment.ensure(environment.PEERS, environment.PEERS_LOCK)
    system.ensure_installed((*ALL, "wrk"))
    with held(VAR / "bench"):
        return _run_marked([environment.PYTHON, "-m", "tests.bench", *arguments], VAR / "bench" / "scratch", {})


def run_lint(arguments: Sequence[str]) -> int:
    """check style, types, imports and the compose files"""
    environment.ensure()
    system.ensure_installed(typescript.NEEDS)
    failed = lint.failures()
    say(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return len(failed) > 0


def run_openapi(arguments: Sequence[str]) -> int:
    """write docs/openapi.json anew, from the API as it is"""
    environment.ensure()
    command = ["manage.py", "export_openapi_schema", "--api", "project.http.api", "--indent", "2"]
    values = {**os.environ, **lint.ENVIRONMENT}
    return run([environment.PYTHON, *command, "--output", "docs/openapi.json"], cwd=ROOT, environment=values)


def run_setup(arguments: Sequence[str]) -> int:
    """install what is missing and start nothing"""
    environment.ensure()
    system.ensure_installed((*ALL, *FOR_TESTS))
    return 0


def run_lock(arguments: Sequence[str]) -> int:
    """lock requirements/*.in with hashes; uv chooses, arguments such as --upgrade are its own"""
    environment.lock_requirements(arguments)
    return 0


def run_clean(arguments: Sequence[str]) -> int:
    """end what a killed run left behind, delete var/ and .venv/"""
    with held(VAR), held(VAR / "test"), held(VAR / "demo"), held(VAR / "chaos"), held(VAR / "bench"):
        erase(VAR)
    shutil.rmtree(environment.VENV, ignore_errors=True)
    return 0


def _run_with_servers(directory: Path, command: Sequence[str | Path], *, apps: str) -> int:
    """Exit code of a command that finds fresh servers in its environment.

    PRIVATE_SERVERS_DIRECTORY names a place where it may run more of them, to be broken. Nothing outlives the command.
    """
    environment.ensure()
    system.ensure_installed(ALL)
    with private_servers(directory, fresh=True) as servers:
        values = {
            **servers.environment,
            "EXTRA_APPS": apps,
            "SECRET_KEY": Secrets(directory / "run" / "secrets").get("SECRET_KEY"),
        }
        return _run_marked(command, directory / "breakable", values)


def _run_marked(command: Sequence[str | Path], breakable: Path, values: Mapping[str, str]) -> int:
    """Exit code of a command that may run servers of its own in ``breakable``, to be broken."""
    mark = uuid.uuid4().hex
    erase(breakable)
    marked = {**values, "PRIVATE_SERVERS_DIRECTORY": str(breakable), "PRIVATE_RUN": mark}
    try:
        return run(command, cwd=ROOT, environment={**os.environ, **marked})
    finally:
        pids.send(pids.bearing(f"PRIVATE_RUN={mark}"), signal.SIGKILL)  # say the workers of a test that was killed
        erase(breakable)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "up": run_up,
    "servers": run_servers,
    "test": run_test,
    "demo": run_demo,
    "chaos": run_chaos,
    "bench": run_bench,
    "lint": run_lint,
    "openapi": run_openapi,
    "setup": run_setup,
    "lock": run_lock,
    "clean": run_clean,
}


def main(arguments: Sequence[str]) -> int:
    """Exit code of one command. A problem is printed, with what mends it, and not its traceback."""
    parser = argparse.ArgumentParser(prog="python3 -m compose.private")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.__doc__, add_help=False).set_defaults(command=command)
    options, rest = parser.parse_known_args(arguments)
    signals.listen()
    try:
        return int(options.command(rest))
    except Problem as problem:
        say(str(problem))
        return problem.exit_code
    except signals.Stopped:
        return 130
