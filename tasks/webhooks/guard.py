"""Where our requests may go. Somebody else chooses the address, and we stand inside the network that it must not reach.

A name is resolved once: every address of the answer must be allowed, and the connection goes to one of just these, so
that a name which means something else a moment later (DNS rebinding) is of no use.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import Any

import httpx
from django.conf import settings

from tasks.errors import TargetRefused

MAX_URL = 2000
LOOK_UP_SECONDS = 5.0
PORTS = {"https": 443, "http": 80}
FIRST_FREE_PORT = 1024
"""Below it only the scheme's own port may be named: the others belong to protocols that a web server does not speak."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Not of the public internet by the registries of IANA, and unknown to some of the Pythons that we run on.
_SPECIAL = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20", "5f00::/16")))
_NUMBER = re.compile(r"\d+|0[xX][0-9a-fA-F]*")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Target:
    """An allowed address. ``addresses`` are where its name leads to, each of them allowed."""

    url: httpx.URL
    addresses: tuple[str, ...]


def target(url: str) -> Target:
    """Where ``url`` leads to now. Raises TargetRefused as ``check`` does, and when the name can not be resolved within
    LOOK_UP_SECONDS or leads to an address that is not allowed."""
    checked = check(url)
    addresses = _resolve(checked.raw_host.decode("ascii").strip("[]"), checked.port or PORTS[checked.scheme])
    for address in addresses:
        if why := refusal(ipaddress.ip_address(address)):
            raise TargetRefused(f"{checked.host} leads to {address}, {why}: only public addresses are called")
    return Target(checked, addresses)


def check(url: str) -> httpx.URL:
    """``url`` as the client that will send to it reads it, so that the two can not differ. Asks no name server.

    Raises TargetRefused when it has another scheme than https, a login, a fragment, a port below 1024 that is not
    its scheme's own, or a host that is a number in disguise.
    """
    if len(url) > MAX_URL:
        raise TargetRefused(f"the URL has {len(url)} characters and may have {MAX_URL}")
    if re.search(r"[\s\\\x00-\x1f\x7f]", url):
        raise TargetRefused("the URL holds a space, a backslash or a control character: encode it as %20, %5C, …")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise TargetRefused(f"the URL can not be read: {error}") from None
    _check_parts(parsed)
    _check_host(parsed.raw_host.decode("ascii"))
    return parsed


def refusal(address: Address) -> str:
    """Why nothing may be sent to ``address``; empty where it may. An IPv4 one in an IPv6 one counts."""
    inner = _inner(address)
    if inner is not None:
        return refusal(inner)
    if address.is_link_local:
        return "a link-local address, where clouds keep their metadata"
    if address.is_multicast or address.is_unspecified:
        return "which is nobody's own address"
    if address.is_loopback:
        return "" if settings.TASKS_WEBHOOK_ALLOW_PRIVATE else "this host itself"
    if address.is_reserved:
        return "a reserved address"
    if any(address in network for network in _SPECIAL):
        return "an address of special use"
    if not address.is_global or getattr(address, "is_site_local", False):
        return "" if settings.TASKS_WEBHOOK_ALLOW_PRIVATE else "a private address"
    return ""


def _check_parts(url: httpx.URL) -> None:
    schemes = ("https", "http") if settings.TASKS_WEBHOOK_ALLOW_HTTP else ("https",)
    if url.scheme not in schemes:
        raise TargetRefused(f"the URL begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if url.userinfo:
        raise TargetRefused("the URL holds a login: messages are signed, and need none")
    if url.fragment:
        raise TargetRefused("the URL ends with a fragment (#…), which is never sent: leave it out")
    if not url.host:
        raise TargetRefused("the URL names no host")
    if url.port not in (None, PORTS[url.scheme], *range(FIRST_FREE_PORT, 65_536)):
        raise TargetRefused(f"port {url.port} is not for the web: use {PORTS[url.scheme]}, or one from 1024 to 65535")


def _check_host(host: str) -> None:
    """That a number is written as everybody reads it: 2130706433, 0x7f.1 and 127.1 are all 127.0.0.1 to some."""
    if "%" in host:
        raise TargetRefused("the host holds a %: write its name, or its address without a zone")
    last = host.rstrip(".").rpartition(".")[2]
    if not _NUMBER.fullmatch(last):
        return
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        raise TargetRefused("the host is a number: write an IPv4 address as four decimal numbers") from None


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that traffic to ``address`` ends at: mapped, by NAT64 (RFC 6052) or by 6to4."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour


def _resolve(host: str, port: int) -> tuple[str, ...]:
    """Every address of ``host``, each once, in the resolver's order."""
    answer: Future[Sequence[Any]] = Future()

    def look_up() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            answer.set_exception(error)

    # In a thread of its own: the resolver knows no time limit, and its own can be half a minute.
    Thread(target=look_up, name="look up", daemon=True).start()
    try:
        found = answer.result(timeout=LOOK_UP_SECONDS)
    except TimeoutError:
        raise TargetRefused(f"{host} can not be resolved within {LOOK_UP_SECONDS:g} s") from None
    except (OSError, UnicodeError) as error:
        raise TargetRefused(f"{host} can not be resolved: {getattr(error, 'strerror', None) or error}") from None
    return tuple(dict.fromkeys(str(place[0]) for *_, place in found))
