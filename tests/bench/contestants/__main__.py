# ruff: noqa: T201  the harness reads this
"""A client process of one contestant: ``python -m tests.bench.contestants MODULE fill|single|batch|stream ...``.

The last line of its output is JSON: seconds, and the CPU seconds of itself and of the servers named in BENCH_SERVERS.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module

from tests.bench.contestants import WARM_UP
from tests.bench.meter import Meter


class Client:
    """The functions of a contestant's module, with what it need not write itself."""

    def __init__(self, name: str):
        module = import_module(f"tests.bench.contestants.{name}")
        self.send: Callable[..., object] = module.send
        self.settle: Callable[[], object] = getattr(module, "settle", lambda: None)
        self.send_many: Callable[[int], object] = getattr(module, "send_many", self._send_one_by_one)
        self.fill: Callable[[int], object] = getattr(module, "fill", self._send_one_by_one)
        self.close: Callable[[], object] = getattr(module, "close", lambda: None)

    def single(self, count: int) -> None:
        for _ in range(count):
            self.send()

    def batch(self, count: int, size: int) -> None:
        for _ in range(count // size):
            self.send_many(size)

    def stream(self, count: int, a_second: int) -> None:
        """Send at a steady pace, each job stamped with the moment before its call."""
        begin = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, begin + number / a_second - time.monotonic()))
            self.send(time.monotonic())

    def _send_one_by_one(self, count: int) -> None:
        for _ in range(count):
            self.send()


def main(name: str, verb: str, *numbers: int) -> None:
    client = Client(name)
    if verb in ("single", "batch"):
        client.single(WARM_UP)
        client.settle()
    meter = Meter({"client": os.getpid(), **json.loads(os.environ["BENCH_SERVERS"])})
    begin = time.monotonic()
    getattr(client, verb)(*numbers)
    client.settle()
    print(json.dumps({"seconds": time.monotonic() - begin, "cpu": meter.read()}), flush=True)
    client.close()


main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
