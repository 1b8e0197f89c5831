"""How far away a host is: cleartext on loopback is nobody's business, across the Internet everybody's."""

import socket
from collections.abc import Callable
from enum import Enum
from ipaddress import ip_address
from typing import Any

# Names that no public name server answers: containers, clusters, home and company networks.
_PRIVATE_ENDINGS = (".local", ".internal", ".lan", ".intranet", ".home.arpa", ".svc", ".localdomain")


class Reach(Enum):
    LOOPBACK = "loopback"
    PRIVATE = "private"
    PUBLIC = "public"
    UNKNOWN = "unknown"


def is_loopback(host: str) -> bool:
    """Whether ``host`` (a name, an address, a socket's path) is this machine, as far as its spelling tells."""
    name = _bare(host)
    if not name or name.startswith("/") or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def reach(host: str, *, resolve: Callable[..., Any] = socket.getaddrinfo) -> Reach:
    """Where ``host`` is. A name with dots is looked up: in a cloud a long public name often leads to a private
    address. UNKNOWN when it has none."""
    name = _bare(host)
    if is_loopback(name):
        return Reach.LOOPBACK
    try:
        return _reach_of(name)
    except ValueError:
        pass
    if "." not in name or name.endswith(_PRIVATE_ENDINGS):
        return Reach.PRIVATE
    try:
        found = {_reach_of(str(address[4][0]).partition("%")[0]) for address in resolve(name, None)}
    except OSError:
        found = set()
    return next((each for each in (Reach.PUBLIC, Reach.PRIVATE, Reach.LOOPBACK) if each in found), Reach.UNKNOWN)


def _bare(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _reach_of(address: str) -> Reach:
    ip = ip_address(address)
    if ip.is_loopback:
        return Reach.LOOPBACK
    return Reach.PUBLIC if ip.is_global else Reach.PRIVATE
