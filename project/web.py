"""The web server: `python -m project.web`, and with `--streams` the one for streams, which hold no thread there.

Granian, whose workers are forked with the platform loaded.

So a worker starts at once and shares the memory of the others. One that dies is replaced; one that is asked to stop
finishes the requests that it has begun.
"""

import multiprocessing
import os
import signal
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server import Server

from tasks import publisher

GRACE_SECONDS = 25  # for requests that have begun: less than `make up` and the containers' runtime wait


def main() -> None:
    parser = ArgumentParser(prog="project.web", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--streams", action="store_true", help="speak ASGI, which keeps streams open (streams.py)")
    parser.add_argument("--threads", type=int, default=24, help="requests that one worker handles at once")
    options = parser.parse_args()
    import project.wsgi  # noqa: F401  before the fork

    Server(
        "project.asgi:application" if options.streams else "project.wsgi:application",
        address=options.host,
        port=options.port,
        interface=Interfaces.ASGI if options.streams else Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=options.workers,
        blocking_threads=1 if options.streams else options.threads,
        backlog=4096 if options.streams else 1024,  # it bounds the connections of a worker as well
        respawn_failed_workers=True,
        workers_kill_timeout=GRACE_SECONDS,
        log_level=LogLevels.error,  # below it: notes on every start, and doubts about the number of threads
    ).serve(target_loader=begin_streaming_worker if options.streams else begin_worker, wrap_loader=False)


def begin_worker() -> Callable[..., Any]:
    """The application, called in each worker before it listens."""
    _begin()
    from project.wsgi import application

    return in_one_piece(application)


def begin_streaming_worker() -> Callable[..., Any]:
    _begin()
    from project.asgi import application

    return application


def _begin() -> None:
    # Until Granian does so itself, nobody hears SIGTERM here: its handler is the main process's, inherited.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Finalize(None, publisher.flush, args=[2.0], exitpriority=0)  # a forked worker ends without running atexit
    if server := multiprocessing.parent_process():
        threading.Thread(target=_stop_with, args=[server], name="server-watch", daemon=True).start()


def in_one_piece(application: WSGIHandler) -> Callable[..., Any]:
    """The same application, whose answers are one piece where they can be: Granian sends a list at once, and asks for
    anything else piece by piece, back and forth between its threads."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        response = application(environ, start_response)
        if not isinstance(response, HttpResponse):
            return response
        body = [response.content]
        response.close()
        return body

    return answer


def _stop_with(server: Any) -> None:
    """End this worker once its server is gone: else it would answer beside the workers of the server's successor."""
    wait([server.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
