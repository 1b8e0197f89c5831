"""Messages that have arrived and have not been claimed."""

from collections import deque
from collections.abc import Callable, Iterable, Set
from typing import Any, NamedTuple

from tasks.worker.envelope import Envelope


class Arrived(NamedTuple):
    """A message that asks for an attempt."""

    envelope: Envelope
    message: Any


class Arrivals:
    """Those that wait, in the order in which they are claimed: urgent ones first.

    A prefetch window is a queue's, so a worker of eight queues is handed eight times what it can run. What it holds
    beyond its room stays unclaimed: the relay may give it to an idle worker, and a crash costs it no attempt.
    """

    def __init__(self) -> None:
        self._waiting: deque[Arrived] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, arrived: Arrived, *, urgent: bool = False) -> None:
        """It has just come."""
        (self._waiting.appendleft if urgent else self._waiting.append)(arrived)

    def put_back(self, arrived: Iterable[Arrived]) -> None:
        """These could not be claimed now."""
        self._waiting.extendleft(reversed(list(arrived)))

    def take(self, *, room: float, free_slots: int, share: Callable[[str], float]) -> list[Arrived]:
        """What there is ``room`` for, in turns' worth; ``share(task)`` is an attempt's part of a turn."""
        taken: list[Arrived] = []
        while self._waiting and room > 0:
            one = share(self._waiting[0].envelope.task)
            if one == 1:  # what takes long, or nobody knows how long, is claimed for a slot that is free now
                if free_slots <= 0:
                    break
                free_slots -= 1
            room -= one
            taken.append(self._waiting.popleft())
        return taken

    def withdraw(self, exchanges: Set[str]) -> list[Any]:
        """The messages that were sent to ``exchanges``, which wait no more, the first first: a quorum queue hands them
        out again in the order in which they come back."""
        came, self._waiting = self._waiting, deque()
        withdrawn = []
        for arrived in came:
            if arrived.message.delivery_info.get("exchange") in exchanges:
                withdrawn.append(arrived.message)
            else:
                self._waiting.append(arrived)
        return withdrawn

    def drop(self, *, keep: int = 0) -> list[Any]:
        """The messages of all but the first ``keep``, which wait no more, the first first: see ``withdraw``."""
        dropped = [self._waiting.pop().message for _ in range(len(self._waiting) - keep)]
        return dropped[::-1]
