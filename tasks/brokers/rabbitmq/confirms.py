"""Publisher confirms in a pipeline: send many, then wait once. A confirm a message would cost a round trip each."""

import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any

import amqp

from tasks.brokers.base import Answers


class Confirms:
    """A channel of its own that publishes mandatory messages and hears what the broker says of each."""

    def __init__(self, channel: Any):
        self.has_refused = False
        self._channel = channel
        self._sent = 0
        self._open: dict[int, tuple[str, float]] = {}  # by delivery tag, oldest first: the id, and when it was sent
        self._confirmed: set[str] = set()
        self._refused: set[str] = set()
        self._returned: set[str] = set()
        channel.confirm_select()
        channel.events["basic_ack"].add(lambda tag, multiple: self._settle(tag, multiple, confirmed=True))
        channel.events["basic_nack"].add(lambda tag, multiple: self._settle(tag, multiple, confirmed=False))
        channel.events["basic_return"].add(self._on_return)

    @property
    def place(self) -> dict[str, Any]:
        """What the frames of its messages depend on."""
        return {"channel_id": self._channel.channel_id, "frame_max": self._connection.frame_max}

    @property
    def are_complete(self) -> bool:
        """Whether each message that was sent has its answer."""
        return not self._open

    def send(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish each (id, frames), all with one write."""
        now = time.monotonic()
        for id, _ in messages:
            self._sent += 1  # the broker counts deliveries of a confirming channel from 1
            self._open[self._sent] = id, now
        self._connection.transport.write(b"".join(frames for _, frames in messages))

    def answers(self, timeout_seconds: float, *, patience_seconds: float) -> Answers:
        """What has been said since the last call, once something is or the time is up. TimeoutError when the broker
        does not answer to a message within ``patience_seconds``; what becomes of the others is then unknown."""
        if self._open:
            _, sent_at = next(iter(self._open.values()))
            remaining = sent_at + patience_seconds - time.monotonic()
            if remaining <= 0:
                raise TimeoutError(f"no confirm within {patience_seconds:g} s")
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=min(timeout_seconds, remaining))
        answers = Answers(self._confirmed, self._refused)
        self._confirmed, self._refused = set(), set()
        return answers

    def close(self) -> None:
        self._channel.close()

    @property
    def _connection(self) -> Any:
        if self._channel.connection is None:  # the broker closed the channel while another one was read
            raise amqp.RecoverableConnectionError("the channel is closed")
        return self._channel.connection

    def _settle(self, tag: int, multiple: bool, *, confirmed: bool) -> None:
        for closed in list(takewhile(lambda open_tag: open_tag <= tag, self._open)) if multiple else [tag]:
            id, _ = self._open.pop(closed, (None, 0))
            if id is not None:
                arrived = confirmed and id not in self._returned
                (self._confirmed if arrived else self._refused).add(id)
                self._returned.discard(id)
        self.has_refused |= not confirmed

    def _on_return(self, error: Exception, exchange: str, routing_key: str, message: amqp.Message) -> None:
        self._returned.add(message.properties["message_id"])  # comes before the same message's confirm
