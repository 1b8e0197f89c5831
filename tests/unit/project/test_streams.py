"""Streams as the event loop sees them: when they end, and what they leave behind."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from django.test import RequestFactory
from django.utils import timezone

from project import streams
from project.streams import Streams
from tasks.following import Changed, Follower, Position
from tasks.http.stream import EventStream
from tasks.models import Job
from tasks.states import JobState


class Followers(list):
    """A poller that asks nobody."""

    is_away = False
    add = list.append


class Client:
    """The other end of one stream."""

    def __init__(self, *, reads: bool = True):
        self.received = b""
        self.headers: dict[bytes, bytes] = {}
        self.has_all = False
        self._reads = reads
        self._gone = asyncio.Event()

    def hang_up(self) -> None:
        self._gone.set()

    async def receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.headers = dict(message["headers"])
            return
        if not self._reads:
            await asyncio.Event().wait()
        self.received += message["body"]
        self.has_all = not message["more_body"]

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(10):
            while text not in self.received:
                await asyncio.sleep(0.001)


def stream(caller: str = "token:t") -> EventStream:
    return EventStream(Follower(), Followers(), caller)  # type: ignore[arg-type]


def change(state: JobState = JobState.RUNNING, job: Job | None = None) -> Changed:
    return Changed(Position(7), state.value, state, 1, timezone.now(), job)


def play(scene: Callable[[Streams, EventStream], Coroutine[Any, Any, None]]) -> None:
    """Run ``scene``; afterwards nothing of the stream may be left."""

    async def run() -> None:
        opened, one = Streams(), stream()
        async with asyncio.timeout(20):
            await scene(opened, one)
        assert (len(opened), list(one.poller), opened._callers) == (0, [], {})

    asyncio.run(run())


def test_news_are_sent_as_they_come_and_the_end_ends_it():
    async def scene(opened: Streams, one: EventStream) -> None:
        client = Client()
        sending = asyncio.create_task(opened.send(one, client.receive, client.send))
        await client.until(b"retry: ")
        await asyncio.to_thread(one.follower.tell, change())
        await client.until(b'"state":"running"')
        await asyncio.to_thread(one.follower.tell, change(JobState.DEAD), end=True)
        await sending
        assert client.has_all
        assert client.received.endswith(b"\n\n")
        assert b"content-length" not in client.headers

    play(scene)


def test_a_silent_stream_says_that_it_is_there(monkeypatch):
    monkeypatch.setattr(streams, "SILENCE_SECONDS", 0.01)

    async def scene(opened: Streams, one: EventStream) -> None:
        client = Client()
        sending = asyncio.create_task(opened.send(one, client.receive, client.send))
        await client.until(b": still here\n\n")
        one.poller.is_away = True
        await client.until(b": the database can not be reached")
        client.hang_up()
        await sending

    play(scene)


def test_a_reader_that_has_stopped_is_left(monkeypatch):
    monkeypatch.setattr(streams, "SEND_SECONDS", 0.01)

    async def scene(opened: Streams, one: EventStream) -> None:
        client = Client(reads=False)
        await opened.send(one, client.receive, client.send)
        assert not client.has_all

    play(scene)


def test_a_client_that_hangs_up_is_left():
    async def scene(opened: Streams, one: EventStream) -> None:
        client = Client()
        sending = asyncio.create_task(opened.send(one, client.receive, client.send))
        await client.until(b"retry: ")
        client.hang_up()
        await sending
        assert not client.has_all

    play(scene)


def test_a_stop_ends_all_with_the_time_to_come_again_and_opens_none():
    async def scene(opened: Streams, one: EventStream) -> None:
        client = Client()
        sending = asyncio.create_task(opened.send(one, client.receive, client.send))
        await client.until(b"retry: ")
        one.follower.tell(change())
        opened.stop()
        await sending
        assert client.has_all
        assert client.received.count(b"retry: ") == 3, "the view's, the stream's and the last word"
        assert b'"state":"running"' in client.received
        refusal = opened.refusal(RequestFactory().get("/"), stream())
        assert refusal is not None
        assert (refusal.status_code, "Retry-After" in refusal) == (503, True)

    play(scene)


def test_no_stream_outlives_the_word_of_its_token_for_long(monkeypatch):
    monkeypatch.setattr(streams, "LONGEST_SECONDS", 0.02)

    async def scene(opened: Streams, one: EventStream) -> None:
        client = Client()
        await opened.send(one, client.receive, client.send)
        assert client.has_all

    play(scene)


@pytest.mark.parametrize(("most", "of_caller", "status"), [(1, 9, 503), (9, 1, 429)])
def test_one_too_many_is_refused(settings, most, of_caller, status):
    settings.TASKS_MAX_STREAMS, settings.TASKS_MAX_STREAMS_PER_CALLER = most, of_caller

    async def scene(opened: Streams, one: EventStream) -> None:
        client, request = Client(), RequestFactory().get("/api/v1/jobs/7/stream")
        assert opened.refusal(request, one) is None
        sending = asyncio.create_task(opened.send(one, client.receive, client.send))
        await client.until(b"retry: ")
        refusal = opened.refusal(request, stream())
        assert refusal is not None
        assert (refusal.status_code, "Retry-After" in refusal) == (status, True)
        other = opened.refusal(request, stream("token:other"))
        assert (other is None) == (status == 429), "what one caller has is nothing to another"
        client.hang_up()
        await sending

    play(scene)
