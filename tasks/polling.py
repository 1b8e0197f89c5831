"""One thread and one connection that ask the database for everybody who waits for news of it in this process."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from django.db import InterfaceError, OperationalError, connection

logger = logging.getLogger(__name__)

Follower = TypeVar("Follower")

BUSY_SHARE = 0.1  # of the time; a look that takes long, at a batch of a million jobs say, is taken less often
IDLE_SECONDS = 10.0  # how long the connection is kept once nobody follows: the next one may come at once
LONGEST_OUTAGE_PAUSE_SECONDS = 2.0


class Poller(Generic[Follower]):
    """Calls ``look(followers)`` every ``pause_seconds`` while there are any; sleeps while there are none.

    Neither an outage of the database nor a bug in one look ends it: it looks again.
    """

    def __init__(self, look: Callable[[Sequence[Follower]], None], *, pause_seconds: float, name: str):
        self._look = look
        self._pause_seconds = pause_seconds
        self._name = name
        self._followers: dict[int, Follower] = {}  # by identity: two may follow the same
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.is_away = False
        """Whether the latest look found no database."""

    def __len__(self) -> int:
        return len(self._followers)

    def add(self, follower: Follower) -> None:
        with self._changed:
            self._followers[id(follower)] = follower
            if self._thread is None or not self._thread.is_alive():  # a forked process has none of its parent's
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def remove(self, follower: Follower) -> None:
        """Does nothing where it does not follow. A look that is under way may still see it."""
        with self._changed:
            self._followers.pop(id(follower), None)

    def _run(self) -> None:
        pause_seconds = self._pause_seconds
        while True:
            followers = self._wait_for_followers()
            began = time.monotonic()
            try:
                self._look(followers)
            except (OperationalError, InterfaceError) as error:
                if not self.is_away:
                    logger.warning("%s: the database can not be reached, trying on: %s", self._name, error)
                connection.close()
                pause_seconds = min(LONGEST_OUTAGE_PAUSE_SECONDS, pause_seconds * 2)
                self.is_away = True
            except Exception:
                logger.exception("%s: a look failed; the next one follows", self._name)
                connection.close()
                pause_seconds = LONGEST_OUTAGE_PAUSE_SECONDS
            else:
                pause_seconds = max(self._pause_seconds, (time.monotonic() - began) * (1 / BUSY_SHARE - 1))
                self.is_away = False
            time.sleep(pause_seconds)

    def _wait_for_followers(self) -> list[Follower]:
        with self._changed:
            if not self._changed.wait_for(lambda: self._followers, timeout=IDLE_SECONDS):
                connection.close()
                self._changed.wait_for(lambda: self._followers)
            return list(self._followers.values())
