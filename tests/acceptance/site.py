"""A web server of the platform, as production starts it."""

import os
import sys
from pathlib import Path

import httpx

from compose.private import ROOT
from compose.private.process import Process
from compose.private.programs import START
from tests.waiting import closed_port


class Server:
    """`compose/django/start web` or `streams`, with one worker, on a port of its own."""

    def __init__(self, name: str, what: str, environment: dict[str, str], directory: Path):
        self.port = closed_port()
        path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
        values = {
            **{"MAX_WAITING_REQUESTS": "2", "MAX_STREAMS_PER_CALLER": "3", "WEB_WORKERS": "1", "WEB_THREADS": "8"},
            **environment,
            **{"PATH": path, "PORT": str(self.port), "STREAM_PORT": str(self.port)},
        }
        self.process = Process(name, [START, what], directory=directory, environment=values, cwd=ROOT)
        self.process.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
