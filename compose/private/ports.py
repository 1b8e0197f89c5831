"""Free ports on loopback, the same ones again at the next start."""

import json
import random
import socket
from collections.abc import Callable
from pathlib import Path

LOOPBACK = "127.0.0.1"

# Below every system's ephemeral range: a client that keeps reconnecting to the port of a stopped server may be given
# that very port as its own end, connect to itself, and hold the port against the server's return.
CANDIDATES = range(15_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen there now. Connections that linger in TIME_WAIT do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


class Ports:
    """One port a name, remembered in a JSON file; a port that somebody else took meanwhile is replaced."""

    def __init__(self, path: Path, *, free: Callable[[int], bool] = is_free) -> None:
        self._path = path
        self._free = free
        self._kept: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, name: str) -> int:
        port = self._kept.get(name)
        if port is None or not self._free(port):
            port = self._draw()
            self._kept[name] = port
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self._kept, indent=2) + "\n")
        return port

    def _draw(self) -> int:
        candidates = random.sample(CANDIDATES, len(CANDIDATES))
        return next(port for port in candidates if port not in self._kept.values() and self._free(port))
