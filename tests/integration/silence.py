"""A way to the broker that falls silent: the connection stays open and nothing passes any more."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


@contextmanager
def silenceable(url: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Another URL for the broker of ``url``, and what silences it: from then on it is a frozen node."""
    parts, silent = urlsplit(url), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server, (parts.hostname, parts.port), silent), daemon=True).start()
        netloc = parts.netloc.replace(f":{parts.port}", f":{server.getsockname()[1]}")
        yield parts._replace(netloc=netloc).geturl(), silent.set
        server.shutdown(socket.SHUT_RDWR)  # close alone would leave the thread in accept


def _serve(server: socket.socket, broker: tuple[str | None, int | None], silent: threading.Event) -> None:
    with suppress(OSError):
        while True:
            (client, _), upstream = server.accept(), socket.create_connection(broker)
            for source, target in ((client, upstream), (upstream, client)):
                threading.Thread(target=_pass_on, args=(source, target, silent), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket, silent: threading.Event) -> None:
    with suppress(OSError):
        while piece := source.recv(65_536):
            if not silent.is_set():
                target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
