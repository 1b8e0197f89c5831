"""Private RabbitMQ nodes with their management API and a cookie of their own."""

import base64
import http.client
import json
import shutil
import subprocess
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from compose.private.envfile import Secrets, write_private
from compose.private.epmd import Epmd
from compose.private.ports import LOOPBACK, Ports, answers
from compose.private.problems import Problem
from compose.private.process import Process, clean_environment
from compose.private.server import Server

USER = "platform"
MEMORY = "1GB"

# Distributions put a wrapper on the PATH that wants to be root or the system's user and opens the system's data; the
# scripts it calls lie in the package's library folder. Homebrew and the generic package have the scripts themselves.
LIBRARIES = ("/usr/lib/rabbitmq/bin", "/opt/homebrew/opt/rabbitmq/sbin", "/usr/local/opt/rabbitmq/sbin")

Settings = Mapping[str, str | int]
"""Lines of rabbitmq.conf."""


class Node(Server):
    """One RabbitMQ node. The name daemon is somebody else's to end, since the nodes of a cluster share it."""

    def __init__(
        self, name: str, directory: Path, ports: Ports, secrets: Secrets, epmd: Epmd, settings: Settings
    ) -> None:
        self.name = name
        self.erlang_name = f"{name}@localhost"
        self._epmd = epmd
        self._settings = settings
        super().__init__(directory, ports, secrets)

    @property
    def environment(self) -> dict[str, str]:
        login = f"{USER}:{self._password}@{LOOPBACK}"
        return {
            "BROKER_URL": f"amqp://{login}:{self._amqp_port}//",
            "RABBITMQ_API_URL": f"http://{login}:{self._management_port}/api/",
        }

    def is_ready(self) -> bool:
        """Whether clients can connect and the management API knows us."""
        return self._ask("overview") is not None and answers(self._amqp_port)

    def sees(self, nodes: Set[str]) -> bool:
        """Whether these are the nodes it counts as running, itself included, by their Erlang names."""
        return {node["name"] for node in self._ask("nodes") or [] if node["running"]} == nodes

    def launch(self) -> None:
        self._epmd.start()
        super().launch()

    def set_alarm(self) -> None:
        """Let the node believe that memory is short: it, and every other node of its cluster, blocks who publishes."""
        self.control("set_vm_memory_high_watermark", "absolute", "1")

    def clear_alarm(self) -> None:
        self.control("set_vm_memory_high_watermark", "absolute", MEMORY)

    def evaluate(self, expression: str) -> str:
        """What an Erlang expression is worth in the node, as text."""
        return self.control("eval", f"{expression}.")

    def control(self, *arguments: str) -> str:
        """What rabbitmqctl prints; it takes a second or two. Problem with its words when it fails."""
        script = Path(find() or "rabbitmq-server").with_name("rabbitmqctl")
        done = subprocess.run(
            [script, "--quiet", "--timeout", "30", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Problem(f"rabbitmqctl {arguments[0]} failed with {done.returncode}:\n\n{done.stdout}")
        return done.stdout.strip()

    def _ask(self, path: str) -> Any | None:
        """What the management API says; None when it does not."""
        token = base64.b64encode(f"{USER}:{self._password}".encode()).decode()
        connection = http.client.HTTPConnection(LOOPBACK, self._management_port, timeout=2)
        try:
            connection.request("GET", f"/api/{path}", headers={"Authorization": f"Basic {token}"})
            answer = connection.getresponse()
            return json.load(answer) if answer.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def _configure(self, ports: Ports, secrets: Secrets) -> Process:
        kinds = ("amqp", "management", "distribution")
        self._amqp_port, self._management_port, distribution_port = (ports.get(f"{self.name}-{kind}") for kind in kinds)
        self._password = secrets.get("RABBITMQ_PASSWORD")
        self._cookie = secrets.get("ERLANG_COOKIE")
        on_loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        self._environment = clean_environment(
            **self._epmd.environment,
            HOME=str(self.data),  # the cookie's place
            ERL_CRASH_DUMP_BYTES="0",
            RABBITMQ_CONF_ENV_FILE="/dev/null",  # else the system's settings win
            RABBITMQ_NODENAME=self.erlang_name,
            RABBITMQ_NODE_IP_ADDRESS=LOOPBACK,
            RABBITMQ_NODE_PORT=str(self._amqp_port),
            RABBITMQ_DIST_PORT=str(distribution_port),
            RABBITMQ_MNESIA_BASE=str(self.data / "mnesia"),
            RABBITMQ_LOG_BASE=str(self.data / "log"),
            RABBITMQ_CONFIG_FILE=str(self.data / "rabbitmq.conf"),
            RABBITMQ_ADVANCED_CONFIG_FILE=str(self.data / "advanced.config"),
            RABBITMQ_GENERATED_CONFIG_DIR=str(self.data / "generated"),
            RABBITMQ_ENABLED_PLUGINS_FILE=str(self.data / "enabled_plugins"),
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=f"+S 2:2 {on_loopback}",
            RABBITMQ_CTL_ERL_ARGS=on_loopback,
            RUNNING_UNDER_SYSTEMD="1",  # the script becomes the node: one pid, and signals reach it
        )
        return Process(
            self.name,
            [find() or "rabbitmq-server"],
            directory=self.directory,
            environment=self._environment,
            cwd=self.data,
        )

    def _prepare(self) -> None:
        self._write(".erlang.cookie", self._cookie)
        self._write("enabled_plugins", "[rabbitmq_management].\n")
        self._write("advanced.config", "[].\n")
        settings = {
            "listeners.tcp.1": f"{LOOPBACK}:{self._amqp_port}",
            "management.tcp.ip": LOOPBACK,
            "management.tcp.port": self._management_port,
            "default_user": USER,
            "default_pass": self._password,
            "consumer_timeout": 3_600_000,  # milliseconds until an unacknowledged job is taken for lost
            "vm_memory_high_watermark.absolute": MEMORY,  # past these two the node blocks whoever publishes
            "disk_free_limit.absolute": "100MB",
            "log.file": "false",
            "log.console": "true",
            "log.console.level": "info",
            **self._settings,
        }
        self._write("rabbitmq.conf", "".join(f"{key} = {value}\n" for key, value in settings.items()))

    def _write(self, name: str, text: str) -> None:
        write_private(self.data / name, text)


class RabbitMQ(Node):
    """A node on its own, with a name daemon that comes and goes with it.

    ``settings`` are lines of rabbitmq.conf that win over ours.
    """

    def __init__(self, directory: Path, ports: Ports, secrets: Secrets, settings: Settings) -> None:
        super().__init__("rabbitmq", directory, ports, secrets, Epmd(directory, ports), settings)

    def stop(self) -> None:
        super().stop()
        self._epmd.stop()

    def kill(self) -> None:
        super().kill()
        self._epmd.kill()


def find() -> str | None:
    """Path of the script that becomes the node; None when RabbitMQ is not installed."""
    inner = [Path(library, "rabbitmq-server") for library in LIBRARIES]
    return next((str(path) for path in inner if path.exists()), None) or shutil.which("rabbitmq-server")
