"""Publisher confirms in a pipeline: send many, then wait once. A confirm a message would cost a round trip each."""

import time
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import amqp


class Confirms:
    """A channel of its own that publishes mandatory messages and counts what the broker has."""

    def __init__(self, channel: Any):
        self.has_refused = False
        self._channel = channel
        self._sent = 0
        self._open: dict[int, str] = {}
        self._confirmed: set[str] = set()
        self._returned: set[str] = set()
        channel.confirm_select()
        channel.events["basic_ack"].add(lambda tag, multiple: self._settle(tag, multiple, confirmed=True))
        channel.events["basic_nack"].add(lambda tag, multiple: self._settle(tag, multiple, confirmed=False))
        channel.events["basic_return"].add(self._on_return)

    @property
    def place(self) -> dict[str, int]:
        """What the frames of its messages depend on."""
        return {"channel_id": self._channel.channel_id, "frame_max": self._connection.frame_max}

    def send(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish each (id, frames), all with one write."""
        for id, _ in messages:
            self._sent += 1  # the broker counts deliveries of a confirming channel from 1
            self._open[self._sent] = id
        self._connection.transport.write(b"".join(frames for _, frames in messages))

    @property
    def _connection(self) -> Any:
        if self._channel.connection is None:  # the broker closed the channel while another one was read
            raise amqp.RecoverableConnectionError("the channel is closed")
        return self._channel.connection

    def wait(self, timeout_seconds: float) -> set[str]:
        """Ids the broker has. TimeoutError when it does not answer; what it did not confirm is then unknown."""
        deadline = time.monotonic() + timeout_seconds
        while self._open:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError(f"no confirm within {timeout_seconds:g} s")
            self._connection.drain_events(timeout=remaining)
        confirmed = self._confirmed - self._returned
        self._confirmed, self._returned = set(), set()
        return confirmed

    def close(self) -> None:
        self._channel.close()

    def _settle(self, tag: int, multiple: bool, *, confirmed: bool) -> None:
        for closed in list(takewhile(lambda open_tag: open_tag <= tag, self._open)) if multiple else [tag]:
            id = self._open.pop(closed, None)
            if confirmed and id is not None:
                self._confirmed.add(id)
        self.has_refused |= not confirmed

    def _on_return(self, error: Exception, exchange: str, routing_key: str, message: amqp.Message) -> None:
        self._returned.add(message.properties["message_id"])  # comes before the same message's confirm
