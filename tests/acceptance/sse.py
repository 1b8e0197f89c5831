"""A client of server-sent events that does what a browser's EventSource does, and remembers all it is told."""

import json
import threading
import time
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Event:
    name: str
    id: str
    data: dict[str, Any]


class EventSource:
    """Follows ``url`` in a thread until 204 or a refusal, or until it is closed; comes back whenever it is cut off."""

    def __init__(self, url: str, token: str):
        self.events: list[Event] = []
        self.comments: list[str] = []
        self.connections = 0
        self.lost: list[str] = []
        self.status: int | None = None
        """Of the answer that ended it."""
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        self._retry_seconds = 3.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """It ends with the next line that it reads."""
        self._closed.set()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def ids(self, name: str) -> list[str]:
        return [event.id for event in self.events if event.name == name]

    def _run(self) -> None:
        with httpx.Client(timeout=httpx.Timeout(30, connect=2)) as client:
            while not self._closed.is_set() and self.status is None:
                try:
                    self._follow(client)
                except httpx.TransportError as error:
                    self.lost.append(repr(error))
                if self.status is None:
                    self._closed.wait(min(self._retry_seconds, 3.0))

    def _follow(self, client: httpx.Client) -> None:
        seen = {"Last-Event-ID": self.events[-1].id} if self.events else {}
        with client.stream("GET", self._url, headers={**self._headers, **seen}) as response:
            if response.status_code in (502, 503, 504):  # a load balancer without a server at this moment
                self.lost.append(str(response.status_code))
                time.sleep(0.2)
                return
            if response.status_code != 200:
                self.status = response.status_code
                return
            self.connections += 1
            fields: dict[str, str] = {}
            for line in response.iter_lines():
                if self._closed.is_set():
                    return
                name, _, value = line.partition(":")
                if not line and "data" in fields:
                    self.events.append(Event(fields["event"], fields["id"], json.loads(fields["data"])))
                    fields = {}
                elif not name:
                    self.comments += [value.strip()] if line else []
                elif name == "retry":
                    self._retry_seconds = int(value) / 1000
                else:
                    fields[name] = value.removeprefix(" ")
