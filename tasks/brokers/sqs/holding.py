"""What one worker has received from SQS and not settled: threads that fetch it, keep it invisible to others, and settle
it, so that the worker's own thread waits for none of these calls."""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

from django.conf import settings

from tasks.aws import TROUBLE
from tasks.brokers.base import QueueMissing
from tasks.brokers.sqs import messages
from tasks.brokers.sqs.queues import Queues

logger = logging.getLogger(__name__)

AT_ONCE = 10
LONGEST_PAUSE_SECONDS = 10.0
SETTLE_SECONDS = 5.0
UNREACHABLE: tuple[type[Exception], ...] = (*TROUBLE, QueueMissing)

Verdict = Literal["delete", "release", "bury"]


@dataclass(frozen=True)
class Held:
    """A message that nobody else is handed while we say so every now and then."""

    tag: str
    queue: str
    message: dict[str, Any]

    @property
    def receipt(self) -> str:
        return str(self.message["ReceiptHandle"])


class Hold:
    """``on_arrival`` is called from another thread whenever something has come for ``take``."""

    def __init__(self, client: Any, on_arrival: Callable[[], object]):
        self._client = client
        self._queues = Queues(client)
        self._on_arrival = on_arrival
        self._held: dict[str, Held] = {}
        self._arrived: deque[Held] = deque()
        self._fetching: dict[str, object] = {}  # by queue, the token of the thread that may
        self._fetchers: list[threading.Thread] = []
        self._room = threading.Condition()
        self._verdicts: queue.Queue[tuple[Verdict, Held] | None] = queue.Queue()
        self._ended = threading.Event()
        self.prefetch = 1
        """Messages of one queue that may be held."""
        self._settler = self._thread(self._settle, "settle")
        self._keeper = self._thread(self._keep, "keep")

    # For the worker's thread.

    def fetch(self, name: str) -> None:
        """Begin, or go on, to fetch the messages of a queue."""
        with self._room:
            if name in self._fetching:
                return
            token = self._fetching[name] = object()
        self._fetchers = [thread for thread in self._fetchers if thread.is_alive()]
        self._fetchers.append(self._thread(lambda: self._fetch(name, token), f"fetch {name}"))

    def leave(self, name: str) -> None:
        """Fetch no more of it. What a long poll that is under way still brings is handed back."""
        with self._room:
            self._fetching.pop(name, None)
            self._room.notify_all()

    def take(self) -> list[Held]:
        """What has arrived since."""
        with self._room:
            taken = list(self._arrived)
            self._arrived.clear()
        return taken

    def settle(self, tag: str, verdict: Verdict) -> None:
        """Delete a message, hand it back to its queue, or move it to its dead-letter queue, soon."""
        with self._room:
            held = self._held.get(tag)
        if held is not None:
            self._verdicts.put((verdict, held))

    def close(self) -> None:
        """Hand back what was not settled. Waits for long polls that are under way: what they bring would otherwise be
        lost to everybody for as long as it is invisible."""
        with self._room:
            self._fetching.clear()
            self._room.notify_all()
        end = time.monotonic() + settings.TASKS_SQS_WAIT_SECONDS + 1
        for thread in self._fetchers:
            thread.join(max(0.0, end - time.monotonic()))
        with self._room:
            settled = {held.tag for _, held in self._pending()}
            left = [held for held in self._held.values() if held.tag not in settled]
        for held in left:
            self._verdicts.put(("release", held))
        self._verdicts.put(None)
        self._settler.join(SETTLE_SECONDS)
        self._ended.set()

    def _pending(self) -> list[tuple[Verdict, Held]]:
        return [each for each in list(self._verdicts.queue) if each is not None]

    # The threads.

    def _thread(self, run: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=run, name=f"sqs {name}", daemon=True)
        thread.start()
        return thread

    def _fetch(self, name: str, token: object) -> None:
        pause_seconds = 0.0
        while (room := self._wait_for_room(name, token)) > 0:
            try:
                found = self._receive(name, room)
            except UNREACHABLE as error:
                pause_seconds = min(LONGEST_PAUSE_SECONDS, pause_seconds * 2 or 0.5)
                logger.warning("%s can not be read: %s", name, error)
                self._ended.wait(pause_seconds)
                continue
            pause_seconds = 0.0
            if found:
                self._arrive(name, token, found)

    def _wait_for_room(self, name: str, token: object) -> int:
        """How many messages may be fetched; 0 once another thread may, or nobody."""
        with self._room:
            while self._fetching.get(name) is token:
                room = self.prefetch - sum(held.queue == name for held in self._held.values())
                if room > 0:
                    return min(AT_ONCE, room)
                self._room.wait(1.0)
        return 0

    def _receive(self, name: str, room: int) -> list[dict[str, Any]]:
        answer = self._client.receive_message(
            QueueUrl=self._queues.url(name),
            MaxNumberOfMessages=room,
            WaitTimeSeconds=settings.TASKS_SQS_WAIT_SECONDS,
            VisibilityTimeout=settings.TASKS_SQS_VISIBILITY_SECONDS,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        found: list[dict[str, Any]] = answer.get("Messages", [])
        return found

    def _arrive(self, name: str, token: object, found: Iterable[dict[str, Any]]) -> None:
        held = [Held(uuid4().hex, name, message) for message in found]
        with self._room:
            is_wanted = self._fetching.get(name) is token
            self._held |= {each.tag: each for each in held}
            if is_wanted:
                self._arrived.extend(held)
        if is_wanted:
            self._on_arrival()
        else:
            for each in held:
                self._verdicts.put(("release", each))

    def _keep(self) -> None:
        """Whoever is held three times as long as this is handed to somebody else as well."""
        while not self._ended.wait(settings.TASKS_SQS_VISIBILITY_SECONDS / 3):
            with self._room:
                held = list(self._held.values())
            for name in {each.queue for each in held}:
                of_queue = [each for each in held if each.queue == name]
                self._extend(of_queue, settings.TASKS_SQS_VISIBILITY_SECONDS)

    def _extend(self, held: Sequence[Held], seconds: int) -> None:
        for start in range(0, len(held), AT_ONCE):
            batch = held[start : start + AT_ONCE]
            entries = [
                {"Id": str(number), "ReceiptHandle": each.receipt, "VisibilityTimeout": seconds}
                for number, each in enumerate(batch)
            ]
            try:
                url = self._queues.url(batch[0].queue)
                answer = self._client.change_message_visibility_batch(QueueUrl=url, Entries=entries)
            except UNREACHABLE as error:
                logger.warning("%d messages of %s could not be kept: %s", len(batch), batch[0].queue, error)
            else:
                for failed in answer.get("Failed", ()):
                    logger.warning("a message of %s could not be kept: %s", batch[0].queue, failed.get("Message"))

    def _settle(self) -> None:
        """Ten at a time, where so many wait."""
        while (first := self._verdicts.get()) is not None:
            batch = [first]
            while len(batch) < 100 and not self._verdicts.empty():
                following = self._verdicts.get()
                if following is None:
                    self._verdicts.put(None)
                    break
                batch.append(following)
            for name in dict.fromkeys(held.queue for _, held in batch):
                for verdict in ("bury", "release", "delete"):
                    chosen = [held for said, held in batch if said == verdict and held.queue == name]
                    if chosen:
                        self._carry_out(verdict, name, chosen)
            with self._room:
                for _, held in batch:
                    self._held.pop(held.tag, None)
                self._room.notify_all()

    def _carry_out(self, verdict: str, name: str, held: Sequence[Held]) -> None:
        """What fails comes again after a while, as from a worker that has died."""
        try:
            if verdict == "release":
                self._extend(held, 0)
                return
            if verdict == "bury":
                held = self._moved(name, held)
            for start in range(0, len(held), AT_ONCE):
                entries = [
                    {"Id": str(number), "ReceiptHandle": each.receipt}
                    for number, each in enumerate(held[start : start + AT_ONCE])
                ]
                answer = self._client.delete_message_batch(QueueUrl=self._queues.url(name), Entries=entries)
                for failed in answer.get("Failed", ()):
                    logger.warning("a message of %s could not be deleted: %s", name, failed.get("Message"))
        except UNREACHABLE as error:
            logger.warning("%d messages of %s could not be settled: %s", len(held), name, error)

    def _moved(self, name: str, held: Sequence[Held]) -> list[Held]:
        """Those that are in the dead-letter queue by now."""
        moved = []
        for each in held:
            try:
                url = self._queues.url(f"{name}.dead")
                self._client.send_message(QueueUrl=url, **messages.dead_entry(each.message, name))
                moved.append(each)
            except UNREACHABLE as error:
                logger.warning("a rejected message of %s could not be moved: %s", name, error)
        return moved
