"""Three RabbitMQ nodes that are one broker, to be broken: a node killed, frozen, wiped or cut off from the others."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from compose.private.envfile import Secrets
from compose.private.epmd import Epmd
from compose.private.ports import Ports
from compose.private.process import wait_until
from compose.private.rabbitmq import Node, Settings
from compose.private.servers import Group, held, running

NAMES = ("rabbitmq-1", "rabbitmq-2", "rabbitmq-3")


class Cluster(Group):
    """``nodes`` are servers like any other. One in a minority pauses: it lets nobody in until it is back.

    One that was frozen for longer than net_ticktime is back at once when it thaws, yet every node then counts it as
    partitioned, and nobody pauses: it joins again only by ``stop`` and ``start``.
    """

    def __init__(self, directory: Path, settings: Settings) -> None:
        ports, secrets = Ports(directory / "run" / "ports.json"), Secrets(directory / "run" / "secrets")
        self._epmd = Epmd(directory, ports)
        self.nodes = [Node(name, directory, ports, secrets, self._epmd, {**formation(), **settings}) for name in NAMES]
        super().__init__(self.nodes)

    @property
    def environment(self) -> dict[str, str]:
        """BROKER_URL and RABBITMQ_API_URL, each naming every node."""
        first, *_ = addresses = [node.environment for node in self.nodes]
        return {key: ";".join(address[key] for address in addresses) for key in first}

    def start(self) -> None:
        super().start()
        self.wait_until_whole()

    def wait_until_whole(self, *, seconds: float = 60) -> None:
        """Return once every node sees all three at work. Problem when one does not in time."""
        names = {node.erlang_name for node in self.nodes}
        for node in self.nodes:
            wait_until(partial(node.sees, names), node.process, seconds=seconds)

    def part(self, node: Node) -> None:
        """Cut ``node`` off from the other two until ``heal``, or until it is started again. Clients still reach it."""
        for_each = "erlang:set_cookie(Peer, parted), erlang:disconnect_node(Peer)"  # a wrong cookie: none can come back
        node.evaluate(f"[begin {for_each} end || Peer <- {self._peers(node)}]")

    def heal(self, node: Node) -> None:
        """Let the nodes find each other again, which takes them some seconds: see ``wait_until_whole``."""
        node.evaluate(f"[erlang:set_cookie(Peer, erlang:get_cookie()) || Peer <- {self._peers(node)}]")

    def stop(self) -> None:
        super().stop()
        self._epmd.stop()

    def _peers(self, node: Node) -> str:
        names = ", ".join(f"'{peer.erlang_name}'" for peer in self.nodes if peer is not node)
        return f"[{names}]"


def formation() -> dict[str, str | int]:
    """Lines of rabbitmq.conf: who belongs together, and that a node which sees less than a majority serves nobody."""
    return {
        "cluster_formation.peer_discovery_backend": "classic_config",
        **{f"cluster_formation.classic_config.nodes.{number}": f"{NAMES[number]}@localhost" for number in range(3)},
        # The first node to boot holds a lock and looks for its peers this often, half a second apart, before it goes
        # ahead without them; they then join it. Ten, the default, are five seconds lost for each fresh cluster.
        "cluster_formation.discovery_retry_limit": 2,
        "cluster_partition_handling": "pause_minority",
        # A node that froze as the leader of a queue holds up that queue until the others give it up, which takes them
        # this many seconds and a quarter more; by default it is a minute.
        "net_ticktime": 10,
    }


@contextmanager
def private_cluster(directory: Path, *, fresh: bool = False, settings: Settings | None = None) -> Iterator[Cluster]:
    """Run three nodes under ``directory`` for the length of a ``with`` block; see ``private_servers``.

    ``settings`` are lines of rabbitmq.conf that win over ours.
    """
    directory = directory.resolve()
    with held(directory), running(Cluster(directory, settings or {}), fresh=fresh) as cluster:
        yield cluster
