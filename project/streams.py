"""Streams that stay open, by the thousand: an ASGI handler which holds neither a thread nor a connection for one.

Views are called in a few threads, as any web server calls them. Where one answers with an EventStream, it is sent and
gone on with here. Django's own handler would keep a thread, and its connection to the database, as long as the stream.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from tasks.http.problems import problem
from tasks.http.stream import EventStream, comment, rendered, retry

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

THREADS = 4  # each keeps a connection to the database; a request takes one for a few milliseconds
SILENCE_SECONDS = 15.0  # then a comment is sent: proxies close what is silent for long, often after 60 s
LONGEST_SECONDS = 600.0  # then the client has to show its token again, which may be revoked by now
SEND_SECONDS = 30.0  # who takes nothing for so long is not reading


class StreamingHandler(ASGIHandler):
    """The site, over ASGI."""

    def __init__(self) -> None:
        self.load_middleware()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="request")
        self._streams = Streams()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self.handle(scope, receive, send)
        else:
            raise ValueError(f"there is nothing here for {scope['type']}")

    async def handle(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        loop = asyncio.get_running_loop()
        request, response = await loop.run_in_executor(self._threads, self._respond, scope, body)
        if request and isinstance(response, EventStream) and not response.follower.has_ended:
            if refusal := self._streams.refusal(request, response):
                await self.send_response(refusal, send)
            else:
                await self._streams.send(response, receive, send)
            return
        await self.send_response(response, send)
        if response.streaming:
            await loop.run_in_executor(self._threads, response.close)

    def _respond(self, scope: dict[str, Any], body: Any) -> tuple[HttpRequest | None, HttpResponseBase]:
        """As Django's handlers do it; in one thread up to ``close``, which looks after the thread's connection."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, unreadable = self.create_request(scope, body)
        response = self.get_response(request) if request else unreadable
        assert response is not None
        if not response.streaming:
            response.close()
        return request, response

    async def _live(self, receive: Receive, send: Send) -> None:
        """From the server's start to its end. A server that is to stop waits for its requests, so streams must hear of
        it, and of that the protocol says nothing: we listen to the signal, too."""
        await receive()
        loop, heard_before = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

        def stop(number: int, frame: Any) -> None:
            loop.call_soon_threadsafe(self._streams.stop)
            if callable(heard_before):
                heard_before(number, frame)

        with suppress(ValueError):  # a server in a thread of some test: signals are the main thread's
            signal.signal(signal.SIGTERM, stop)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._streams.stop()
        self._threads.shutdown(wait=False)
        await send({"type": "lifespan.shutdown.complete"})


class Streams:
    """The streams that are open in this process. All its methods are called by the event loop's thread."""

    def __init__(self) -> None:
        self._wakes: dict[asyncio.Event, str] = {}  # what wakes each, and whose it is
        self._callers: Counter[str] = Counter()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._wakes)

    def refusal(self, request: HttpRequest, stream: EventStream) -> HttpResponse | None:
        """Why this one can not be opened as well; None where it can."""
        if self._stopping or len(self) >= settings.TASKS_MAX_STREAMS:
            return problem(request, "busy", "no further stream can be opened here: come again in a moment, or poll")
        if self._callers[stream.caller] >= settings.TASKS_MAX_STREAMS_PER_CALLER:
            most = settings.TASKS_MAX_STREAMS_PER_CALLER
            return problem(request, "too-many-streams", f"{stream.caller} has {most} open here, which is the most")
        return None

    def stop(self) -> None:
        """End all of them; clients come back, to another process or this one's successor."""
        self._stopping = True
        for wake in self._wakes:
            wake.set()

    async def send(self, stream: EventStream, receive: Receive, send: Send) -> None:
        """Keep ``stream`` open until there is nothing more to tell, its client is gone or does not read, its time is
        over, or the process is to stop."""
        loop, wake = asyncio.get_running_loop(), asyncio.Event()
        self._wakes[wake] = stream.caller
        self._callers[stream.caller] += 1
        gone = asyncio.ensure_future(receive())  # nothing comes from a client but its end
        gone.add_done_callback(lambda _: wake.set())
        stream.follower.on_news = partial(loop.call_soon_threadsafe, wake.set)
        stream.poller.add(stream.follower)
        try:
            with suppress(TimeoutError):
                await self._send(stream, send, wake, gone)
        finally:
            stream.poller.remove(stream.follower)
            gone.cancel()
            del self._wakes[wake]
            self._callers[stream.caller] -= 1
            if not self._callers[stream.caller]:
                del self._callers[stream.caller]

    async def _send(
        self, stream: EventStream, send: Send, wake: asyncio.Event, gone: "asyncio.Future[Message]"
    ) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST_SECONDS * random.uniform(0.8, 1)
        headers = [
            (name.lower().encode(), value.encode()) for name, value in stream.items() if name != "Content-Length"
        ]
        async with asyncio.timeout(SEND_SECONDS):
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        # The view's word on when to come again was that of a process which hangs up at once.
        piece = stream.content + self._retry()
        follower, is_last = stream.follower, False
        while True:
            async with asyncio.timeout(SEND_SECONDS):
                await send({"type": "http.response.body", "body": piece, "more_body": not is_last})
            if is_last:
                return
            if not wake.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(SILENCE_SECONDS, max(0.0, until - loop.time()))):
                        await wake.wait()
            wake.clear()
            if gone.done():
                return
            has_ended = follower.has_ended  # asked first: what is told before the end is taken with it
            piece = rendered(follower.take(), stream.mask)
            is_last = has_ended or self._stopping or loop.time() >= until
            if self._stopping:
                piece += self._retry()
            if not piece:
                piece = comment("the database can not be reached, trying on" if stream.poller.is_away else "still here")

    def _retry(self) -> bytes:
        """Spread over a second, since whatever ends one stream may end all of them."""
        return retry(random.randint(500, 1500))
