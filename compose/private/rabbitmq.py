"""A private RabbitMQ node with its management API, its own cookie and its own name daemon."""

import base64
import http.client
import shutil
from pathlib import Path

from compose.private.envfile import Secrets, write_private
from compose.private.ports import LOOPBACK, Ports, answers
from compose.private.process import Process, clean_environment, wait_until
from compose.private.server import Server

USER = "platform"

# Distributions put a wrapper on the PATH that wants to be root or the system's user and opens the system's data; the
# script it calls lies in the package's library folder. Homebrew and the generic package have the script itself.
LIBRARIES = ("/usr/lib/rabbitmq/bin", "/opt/homebrew/opt/rabbitmq/sbin", "/usr/local/opt/rabbitmq/sbin")


class RabbitMQ(Server):
    name = "rabbitmq"

    @property
    def environment(self) -> dict[str, str]:
        login = f"{USER}:{self._password}@{LOOPBACK}"
        return {
            "BROKER_URL": f"amqp://{login}:{self._amqp_port}//",
            "RABBITMQ_API_URL": f"http://{login}:{self._management_port}/api/",
        }

    def is_ready(self) -> bool:
        """Whether clients can connect and the management API knows us."""
        token = base64.b64encode(f"{USER}:{self._password}".encode()).decode()
        connection = http.client.HTTPConnection(LOOPBACK, self._management_port, timeout=2)
        try:
            connection.request("GET", "/api/overview", headers={"Authorization": f"Basic {token}"})
            return connection.getresponse().status == 200 and answers(self._amqp_port)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def launch(self) -> None:
        # A node that finds no epmd starts one that outlives it, with a pid that nobody knows.
        if not self._epmd.is_alive():
            self.data.mkdir(parents=True, exist_ok=True)
            self._epmd.start()
            wait_until(lambda: answers(self._epmd_port), self._epmd, seconds=10)
        super().launch()

    def stop(self) -> None:
        super().stop()
        self._epmd.stop()

    def kill(self) -> None:
        super().kill()
        self._epmd.kill()

    def _configure(self, ports: Ports, secrets: Secrets) -> Process:
        names = ("amqp", "management", "erlang-distribution", "epmd")
        self._amqp_port, self._management_port, distribution_port, self._epmd_port = map(ports.get, names)
        self._password = secrets.get("RABBITMQ_PASSWORD")
        self._cookie = secrets.get("ERLANG_COOKIE")
        environment = clean_environment(
            HOME=str(self.data),  # the cookie's place
            ERL_EPMD_ADDRESS=LOOPBACK,
            ERL_EPMD_PORT=str(self._epmd_port),
            ERL_CRASH_DUMP_BYTES="0",
            RABBITMQ_CONF_ENV_FILE="/dev/null",  # else the system's settings win
            RABBITMQ_NODENAME="platform@localhost",
            RABBITMQ_NODE_IP_ADDRESS=LOOPBACK,
            RABBITMQ_NODE_PORT=str(self._amqp_port),
            RABBITMQ_DIST_PORT=str(distribution_port),
            RABBITMQ_MNESIA_BASE=str(self.data / "mnesia"),
            RABBITMQ_LOG_BASE=str(self.data / "log"),
            RABBITMQ_CONFIG_FILE=str(self.data / "rabbitmq.conf"),
            RABBITMQ_ADVANCED_CONFIG_FILE=str(self.data / "advanced.config"),
            RABBITMQ_GENERATED_CONFIG_DIR=str(self.data / "generated"),
            RABBITMQ_ENABLED_PLUGINS_FILE=str(self.data / "enabled_plugins"),
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
            RUNNING_UNDER_SYSTEMD="1",  # the script becomes the node: one pid, and signals reach it
        )
        self._epmd = Process(
            "epmd",
            [shutil.which("epmd") or "epmd", "-port", str(self._epmd_port), "-address", LOOPBACK],
            directory=self.directory,
            environment=environment,
            cwd=self.data,
            grace_seconds=5,
        )
        return Process(
            self.name, [find() or "rabbitmq-server"], directory=self.directory, environment=environment, cwd=self.data
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
            "vm_memory_high_watermark.absolute": "1GB",  # past these two the node blocks whoever publishes
            "disk_free_limit.absolute": "100MB",
            "log.file": "false",
            "log.console": "true",
            "log.console.level": "info",
        }
        self._write("rabbitmq.conf", "".join(f"{key} = {value}\n" for key, value in settings.items()))

    def _write(self, name: str, text: str) -> None:
        write_private(self.data / name, text)


def find() -> str | None:
    """Path of the script that becomes the node; None when RabbitMQ is not installed."""
    inner = [Path(library, "rabbitmq-server") for library in LIBRARIES]
    return next((str(path) for path in inner if path.exists()), None) or shutil.which("rabbitmq-server")
