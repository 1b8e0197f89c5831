"""``make up``: the whole platform until Ctrl-C."""

import http.client
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from compose.private import VAR, envfile, environment, signals, system
from compose.private.console import Follower, say
from compose.private.envfile import Secrets
from compose.private.ports import LOOPBACK, is_free
from compose.private.problems import Problem
from compose.private.process import Process, wait_until
from compose.private.programs import preparation, programs
from compose.private.servers import Servers, held, running
from compose.private.supervisor import Watched, watch

ADDRESSES = VAR / "run" / "platform.env"
OPERATOR = "operator"
PORTS = {"PORT": 8000, "STREAM_PORT": 8001, "FLOWER_PORT": 5555}
OVERRIDES = {"BROKER_URL": "rabbitmq", "DATABASE_URL": "postgresql", "REDIS_URL": "redis"}


def up() -> None:
    """Install what is missing, start everything, print where it is, stop everything on a signal."""
    profile = os.environ.get("PROFILE", "full")
    if profile != "full":
        raise Problem(f"PROFILE={profile} is not built yet; there is PROFILE=full", exit_code=2)
    environment.ensure()
    wanted = servers_wanted(os.environ)
    system.ensure_installed(wanted)
    with held(VAR):
        ports = requested_ports()
        with running(Servers(VAR, wanted)) as servers:
            values = settings(servers.environment, ports, Secrets(VAR / "run" / "secrets"), os.environ)
            with written(ADDRESSES, values):
                run_platform(servers, {**os.environ, **values})


def servers_wanted(given: Mapping[str, str]) -> list[str]:
    """Every server but those whose address the caller's environment names."""
    return [server for variable, server in OVERRIDES.items() if not given.get(variable)]


def requested_ports() -> dict[str, int]:
    """Where to listen, by variable. Problem where two of them would listen at the same port."""
    ports = {name: requested_port(name, default) for name, default in PORTS.items()}
    for name, port in ports.items():
        if twin := next((other for other in ports if other < name and ports[other] == port), None):
            raise Problem(f"{twin} and {name} are both {port}", exit_code=2)
    return ports


def requested_port(variable: str, default: int, *, free: Callable[[int], bool] = is_free) -> int:
    """The port to listen on. Problem with the line to type instead when it is taken or no port at all."""
    text = os.environ.get(variable) or str(default)
    if not text.isdigit() or not 0 < int(text) < 65_536:
        raise Problem(f"{variable}={text} is no port number", exit_code=2)
    if not free(int(text)):
        other = next(port for port in range(int(text) + 1, 65_536) if free(port))
        raise Problem(f"port {text} is taken by another program: {variable}={other} make up", exit_code=2)
    return int(text)


def settings(
    addresses: Mapping[str, str], ports: Mapping[str, int], secrets: Secrets, given: Mapping[str, str]
) -> dict[str, str]:
    """What the platform's processes and a second terminal must know; what the caller's environment gives wins."""
    password = secrets.get("OPERATOR_PASSWORD", size_bytes=8)
    chosen = {
        **addresses,
        "SECRET_KEY": secrets.get("SECRET_KEY"),
        "EXTRA_APPS": "project.demo",  # work that fails on purpose, to watch retries and dead letters
        "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
        "FLOWER_URL": f"http://{LOOPBACK}:{ports['FLOWER_PORT']}/",
        "FLOWER_BASIC_AUTH": f"{OPERATOR}:{password}",
        "OPERATOR_NAME": OPERATOR,
        "OPERATOR_PASSWORD": password,
        "JOB_EVENTS": "exchange",
        "BROKER_ACK_TIMEOUT_SECONDS": "3600",  # as rabbitmq.py sets it
    }
    names = {*chosen, *OVERRIDES, "RABBITMQ_API_URL"}
    values = chosen | {name: given[name] for name in sorted(names) if given.get(name)}
    return values | {name: str(port) for name, port in ports.items()}


@contextmanager
def written(path: Path, values: Mapping[str, str]) -> Iterator[None]:
    """Keep the addresses in a file for the length of a ``with`` block."""
    envfile.write(path, values)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def run_platform(servers: Servers, values: Mapping[str, str]) -> None:
    """The platform's own processes, until a signal."""
    steps, lasting = preparation(VAR, values), programs(VAR, values)
    follower = Follower([process.log for process in (*steps, *lasting.values())])
    try:
        for step in steps:
            run_step(step, follower)
        for program in lasting.values():
            program.start()
        wait_until_answering(int(values["PORT"]), "/health/live", lasting["web"], follower)
        wait_until_answering(int(values["STREAM_PORT"]), "/health/live", lasting["streams"], follower)
        wait_until_answering(int(values["FLOWER_PORT"]), "/", lasting["flower"], follower)
        let_all_speak(follower)
        print(welcome(values), flush=True)
        watched = [Watched(server.process, server.launch) for server in servers]
        watch(watched + [Watched(program, program.start) for program in lasting.values()], follower)
    finally:
        say("stopping; a second Ctrl-C kills at once")
        for program in reversed(lasting.values()):
            program.ask_to_stop()
        for program in reversed(lasting.values()):
            program.stop()
        follower.poll()


def run_step(step: Process, follower: Follower) -> None:
    """Run one command to its end. Problem with its last lines when it fails."""
    step.start()
    try:
        while step.is_alive():
            signals.check()
            time.sleep(0.05)
    finally:
        step.stop()
        follower.poll()
    if step.exit_code:
        raise Problem(f"{step.name} failed with {step.exit_code}; its whole output: {step.log}")


def wait_until_answering(port: int, path: str, process: Process, follower: Follower) -> None:
    """Wait for an answer over HTTP: a port may be open before anybody behind it has loaded the platform."""

    def answers() -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    wait_until(answers, process, meanwhile=follower.poll)


def let_all_speak(follower: Follower, *, seconds: float = 10) -> None:
    """Wait until nothing was printed for 2 s, so that the addresses are the last thing on the screen."""
    quiet_since, deadline = time.monotonic(), time.monotonic() + seconds
    while time.monotonic() < min(quiet_since + 2, deadline) and not signals.requested():
        if follower.poll():
            quiet_since = time.monotonic()
        time.sleep(0.1)


def welcome(values: Mapping[str, str]) -> str:
    """Where everything is and how to get in."""
    site = f"http://{LOOPBACK}:{values['PORT']}"
    rows = [
        ("Dashboard", f"{site}/admin/", f"{values['OPERATOR_NAME']} / {values['OPERATOR_PASSWORD']}"),
        (
            "API",
            f"{site}/api/v1/docs",
            "token: .venv/bin/python manage.py token create NAME --scope jobs:read --scope jobs:write",
        ),
        ("Streams", f"http://{LOOPBACK}:{values['STREAM_PORT']}", "/api/v1/jobs/{id}/stream, with the same token"),
        ("Flower", values["FLOWER_URL"], values["FLOWER_BASIC_AUTH"].replace(":", " / ")),
    ]
    if api := values.get("RABBITMQ_API_URL", "").partition(";")[0]:
        url = urlsplit(api)
        rows.append(("RabbitMQ", f"{url.scheme}://{url.hostname}:{url.port}/", f"{url.username} / {url.password}"))
    lines = "\n".join(f"  {name:<11}{url:<36}{login}" for name, url, login in rows)
    return f"\nThe platform is running; Ctrl-C stops it, its data stays in var/.\n\n{lines}\n"
