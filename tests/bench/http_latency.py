"""How long POST /api/v1/emails takes at half of its greatest load, beside the same endpoint that sends the mail itself.

    python -m tests.bench.http_latency      (a spare DATABASE_URL, BROKER_URL and SECRET_KEY in the environment)

Requests come at fixed moments, whether or not the ones before were answered, and their time counts from the moment at
which they should have gone: Tene, "How NOT to Measure Latency", 2013. Rounds are interleaved, medians of them are told.
The mail server is a process on loopback that takes REPLY_MS for each reply, as one in another data centre would.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from urllib.parse import urlsplit

THREADS = 24
SECONDS, WARM_UP_SECONDS, ROUNDS = 4.0, 1.5, 3
MAIL = {"to": ["ann@example.com"], "subject": "Your invoice", "text": "It is attached to your account."}
PATHS = {"accepted as a job": "/api/v1/emails", "sent inline": "/api/v1/inline/emails"}


def serve() -> None:
    """The platform's own web server, with one operation more."""
    from uuid import uuid4

    from django import setup
    from django.http import HttpRequest, HttpResponse

    setup()
    from notifications import services
    from notifications.channels.email import EmailChannel
    from notifications.http import EmailIn
    from notifications.payloads import EmailPayload
    from project import web
    from project.http import api
    from tasks.http.door import allowed, answer, payload_of, read_body

    @api.post("/inline/emails", auth=allowed("jobs.enqueue"))
    def send_inline(request: HttpRequest) -> HttpResponse:
        payload = EmailPayload.model_validate(payload_of(read_body(request, EmailIn)))
        email = services.compose(job_id=uuid4(), **payload.model_dump())
        receipt = services.deliver(email, EmailChannel(), lambda key, effect: effect())
        return answer({"accepted": receipt.accepted})

    web.main()


def take_mail(port: int, reply_seconds: float) -> None:
    """A mail server that forgets what it takes."""
    import asyncio

    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import SMTP

    class Slow:
        async def handle_MAIL(self, server: SMTP, session, envelope, address, options) -> str:  # type: ignore[no-untyped-def]
            await asyncio.sleep(reply_seconds * 2)  # the greeting's and EHLO's as well
            envelope.mail_from = address
            return "250 OK"

        async def handle_RCPT(self, server: SMTP, session, envelope, address, options) -> str:  # type: ignore[no-untyped-def]
            await asyncio.sleep(reply_seconds)
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server: SMTP, session, envelope) -> str:  # type: ignore[no-untyped-def]
            await asyncio.sleep(reply_seconds * 2)
            return "250 OK"

    Controller(Slow(), hostname="127.0.0.1", port=port).start()
    threading.Event().wait()


class Load:
    def __init__(self, url: str, token: str):
        self._host = urlsplit(url).netloc
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._body = json.dumps(MAIL)

    def greatest(self, path: str, seconds: float) -> float:
        """Answers a second, when each connection asks again at once."""
        counts = [0] * THREADS
        end = time.monotonic() + seconds

        def ask(number: int) -> None:
            connection = http.client.HTTPConnection(self._host, timeout=20)
            while time.monotonic() < end:
                self._ask(connection, path)
                counts[number] += 1

        self._each(ask)
        return sum(counts) / seconds

    def latencies(self, path: str, rate: float, seconds: float) -> list[float]:
        """Milliseconds of each of ``rate * seconds`` requests, from the moment when it was due."""
        begin, taken = time.monotonic() + 0.2, [[] for _ in range(THREADS)]  # type: list[list[float]]

        def ask(number: int) -> None:
            connection = http.client.HTTPConnection(self._host, timeout=20)
            for index in range(number, int(rate * seconds), THREADS):
                due = begin + index / rate
                time.sleep(max(0.0, due - time.monotonic()))
                self._ask(connection, path)
                taken[number].append((time.monotonic() - due) * 1000)

        self._each(ask)
        return sorted(value for each in taken for value in each)

    def _ask(self, connection: http.client.HTTPConnection, path: str) -> None:
        connection.request("POST", path, self._body, self._headers)
        response = connection.getresponse()
        told = response.read()
        assert response.status in (200, 202), told

    def _each(self, ask) -> None:  # type: ignore[no-untyped-def]
        threads = [threading.Thread(target=ask, args=[number]) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def main() -> None:
    reply_ms = float(os.environ.get("REPLY_MS", "20"))
    port, mail_port = 8790, 8791
    environment = {**os.environ, "EMAIL_URL": f"smtp://127.0.0.1:{mail_port}", "API_RATE_PER_MINUTE": "0"}
    environment["DJANGO_SETTINGS_MODULE"] = "project.settings"
    me = [sys.executable, "-m", "tests.bench.http_latency"]
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environment, check=True)
    command = [sys.executable, "manage.py", "token", "create", f"latency-{time.time_ns()}", "--scope", "jobs:write"]
    token = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    servers = [
        subprocess.Popen([*me, "mail", str(mail_port), str(reply_ms / 1000)]),
        subprocess.Popen([*me, "serve", "--port", str(port)], env=environment),
    ]
    try:
        load = Load(f"http://127.0.0.1:{port}", token)
        for _ in range(60):
            time.sleep(0.5)
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=2):
                break
        load.greatest(PATHS["accepted as a job"], WARM_UP_SECONDS)
        rates = {name: load.greatest(path, WARM_UP_SECONDS * 2) / 2 for name, path in PATHS.items()}
        figures: dict[str, list[list[float]]] = {name: [] for name in PATHS}
        for _ in range(ROUNDS):
            for name, path in PATHS.items():
                found = load.latencies(path, rates[name], SECONDS)
                figures[name].append([found[int(len(found) * part)] for part in (0.5, 0.95, 0.99)])
        lines = [f"| {reply_ms:g} ms a reply | requests/s | p50 ms | p95 ms | p99 ms |", "|---|---|---|---|---|"]
        for name, rounds in figures.items():
            p50, p95, p99 = (statistics.median(column) for column in zip(*rounds, strict=True))
            lines.append(f"| {name} | {rates[name]:.0f} | {p50:.1f} | {p95:.1f} | {p99:.1f} |")
        sys.stdout.write("\n".join(lines) + "\n")
    finally:
        for server in servers:
            server.terminate()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", *rest]:
            sys.argv = ["project.web", *rest]
            serve()
        case ["mail", port, seconds]:
            take_mail(int(port), float(seconds))
        case _:
            main()
