"""A request to none but the addresses that the guard has allowed."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

import httpx

from tasks.webhooks.guard import Target

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 10.0
MOST_ADDRESSES = 3


@contextmanager
def request(
    method: str, target: Target, *, headers: dict[str, str], content: bytes | None = None
) -> Iterator[httpx.Response]:
    """The answer of the first address that takes a connection, its body not yet read. No redirect is followed.

    Only a connection that was never made may be tried elsewhere. Raises httpx.HTTPError.
    """
    with ExitStack() as stack:
        yield _first_answer(stack, method, target, headers, content)


def _first_answer(
    stack: ExitStack, method: str, target: Target, headers: dict[str, str], content: bytes | None
) -> httpx.Response:
    error: httpx.HTTPError | None = None
    for address in target.addresses[:MOST_ADDRESSES]:
        try:
            return stack.enter_context(_request_to(address, method, target.url, headers, content))
        except (httpx.ConnectError, httpx.ConnectTimeout) as failure:
            error = failure
    raise error or httpx.ConnectError("its name has no address")


@contextmanager
def _request_to(
    address: str, method: str, url: httpx.URL, headers: dict[str, str], content: bytes | None
) -> Iterator[httpx.Response]:
    host = url.raw_host.decode("ascii").strip("[]")
    timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
    # No proxy of the environment: it would resolve the name by itself, and past the guard.
    with (
        httpx.Client(verify=_tls(), timeout=timeout, trust_env=False, follow_redirects=False) as client,
        client.stream(
            method,
            url.copy_with(host=address),
            content=content,
            headers={
                **headers,
                "host": url.netloc.decode("ascii"),
                "accept-encoding": "identity",  # a small answer may unpack to a large one
            },
            extensions={"sni_hostname": host},  # whom the certificate must be for, whatever address was taken
        ) as answer,
    ):
        yield answer


@cache
def _tls() -> ssl.SSLContext:
    """Read once a process. SSL_CERT_FILE names authorities of one's own, in place of the public ones."""
    return httpx.create_ssl_context()
