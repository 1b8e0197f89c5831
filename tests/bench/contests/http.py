"""`http` and `http-batch`: jobs accepted over HTTP, both contestants behind the command that serves the platform."""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from compose.private.ports import Ports
from compose.private.process import Process, wait_until
from compose.private.programs import START
from tests.bench import field, work
from tests.bench.contests.base import Contest
from tests.bench.field import Contestant
from tests.bench.figures import Sample
from tests.bench.stage import Failed, Home

LOAD = Path(__file__).parents[1] / "load.lua"
SECONDS, QUICK_SECONDS, WARM_UP_SECONDS = 6, 2, 1
QUIET_SECONDS, LONGEST_WAIT_SECONDS = 0.7, 30
BATCH = 1000
ORDER = {"task": "bench.nothing", "payload": work.PAYLOAD}
JOBS, JOBS_BATCH = "/api/v1/jobs", "/api/v1/jobs/batch"


class Web(Contest):
    """What both contests do: start the server, warm it up, let wrk ask."""

    everybody: ClassVar[Sequence[Contestant]] = (field.OURS, field.WEB)
    in_targets: ClassVar[Sequence[Contestant]] = everybody

    @contextmanager
    def _serving(self, home: Home, contestant: Contestant) -> Iterator[Process]:
        """compose/django/start web, with its own numbers of workers and threads, in the folder of its project."""
        port = Ports(self.stage.directory / "run" / "ports.json").get("web")
        folder = Path(home.environment(contestant)["PYTHONPATH"].split(os.pathsep)[0])
        web = home.process(contestant, [str(START), "web"], f"{contestant.home}-web", cwd=folder, PORT=str(port))
        self._url = f"http://127.0.0.1:{port}"
        web.start()
        try:
            wait_until(lambda: self._is_live(), web)
            yield web
        finally:
            web.stop()

    def _load(self, home: Home, contestant: Contestant, path: str, connections: int, jobs: int, web: Process) -> Sample:
        """``jobs``: how many each request carries. The clock stops when the last message is in its queue."""
        home.clean()
        self._ask(path, connections, WARM_UP_SECONDS)
        self._last_message(home, contestant)
        home.clean()
        home.settle()
        meter, begin = self.stage.meter(web=web.pid or 0), time.monotonic()
        told = self._ask(path, connections, QUICK_SECONDS if self.quick else SECONDS)
        rows, end = self._last_message(home, contestant)
        seconds, used = end - begin, meter.read()
        if told["refused"] or told["broken"]:
            raise Failed(f"{told['refused']} requests were refused and {told['broken']} broke")
        if not 0 <= rows - told["answers"] * jobs <= connections * jobs:  # the last ones' answers nobody waited for
            raise Failed(f"the accounts do not balance: {told['answers']} answers for {jobs} jobs each, {rows} rows")
        figures = {"rate": rows / seconds, "p50_ms": told["p50_ms"], "p99_ms": told["p99_ms"]}
        return Sample(rows, seconds, figures, {part: value * 1e6 / rows for part, value in used.items()})

    def _ask(self, path: str, connections: int, seconds: int) -> dict[str, float]:
        command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "20s", "-s", str(LOAD)]
        values = {"BENCH_BODY": str(self._body(path)), "BENCH_TOKEN": self._token}
        done = subprocess.run(
            [*command, self._url + path], capture_output=True, text=True, check=True, env={**os.environ, **values}
        )
        return json.loads(done.stdout.splitlines()[-1])

    def _last_message(self, home: Home, contestant: Contestant) -> tuple[int, float]:
        """The number of rows, and when there was a message for each. wrk leaves without waiting for its last answers,
        so it takes a moment without news to know which one was the last."""
        (query,) = contestant.books.sent.values()
        rows, since, deadline = -1, 0.0, time.monotonic() + LONGEST_WAIT_SECONDS
        while rows < 0 or time.monotonic() < since + QUIET_SECONDS:
            now, found, messages = time.monotonic(), home.count(query), home.depth(contestant.books.queue)
            if messages != found:
                rows = -1
            elif found != rows:
                rows, since = found, now
            if now > deadline:
                raise Failed(f"waited {LONGEST_WAIT_SECONDS} s; there are {found} rows and {messages} messages")
            time.sleep(0.02)
        return rows, since

    def _body(self, path: str) -> Path:
        file = self.stage.directory / f"{path.rpartition('/')[2]}.json"
        file.write_text(json.dumps({"jobs": [ORDER] * BATCH} if path == JOBS_BATCH else ORDER))
        return file

    @cached_property
    def _token(self) -> str:
        home = self.stage.home(field.OURS)
        command = [
            "python",
            "manage.py",
            "token",
            "create",
            f"bench {time.time()}",
            "--scope",
            "jobs:write",
            "--rate",
            "0",
        ]
        return home.output(field.OURS, command).strip()

    def _is_live(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/health/live", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


class Http(Web):
    name = "http"
    title = "POST /api/v1/jobs"
    method = (
        "wrk posts the same order over 64 connections, then over 1. The platform checks a bearer token and the "
        "payload's schema, and answers 202; the plain view does neither. The clock stops when each row has its message."
    )

    def measure(self, contestant: Contestant) -> Sample:
        home = self.stage.home(contestant)
        with self._serving(home, contestant) as web:
            many, one = (self._load(home, contestant, JOBS, connections, 1, web) for connections in (64, 1))
        figures = {
            "rate_64": many.figures["rate"],
            "p99_ms_64": many.figures["p99_ms"],
            "rate_1": one.figures["rate"],
            "p99_ms_1": one.figures["p99_ms"],
        }
        return Sample(many.jobs, many.seconds, figures, many.cpu_us)


class HttpBatch(Web):
    name = "http-batch"
    title = "POST /api/v1/jobs/batch"
    method = "wrk posts batches of 1,000 orders over 4 connections. The clock stops when each row has its message."
    everybody = in_targets = (field.OURS,)

    def measure(self, contestant: Contestant) -> Sample:
        home = self.stage.home(contestant)
        with self._serving(home, contestant) as web:
            return self._load(home, contestant, JOBS_BATCH, 4, BATCH, web)
