"""Outcomes on their way into the database, their messages on the way out: recorded, and only then settled."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from tasks.worker.outcome import Outcome
from tasks.worker.recording import HELD, Ended, Reached, record
from tasks.worker.request import AttemptRequest, Ending

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 500
PAUSE_SECONDS = 1.0


class Recorder:
    """Takes outcomes from any thread and records them on one of its own, in groups of whatever has come meanwhile: one
    that comes alone at once, and many together. None waits for company.

    With the database away, or its row held by somebody's transaction, an outcome stays here and is tried again; its
    message stays unsettled. ``settle`` is called with what is committed, (request, outcome, state reached) each.
    """

    def __init__(self, settle: Callable[[Sequence[tuple[AttemptRequest, Outcome, Reached]]], object]):
        self._settle = settle
        self._new: deque[Ending] = deque()
        self._held: deque[Ending] = deque()
        self._requests: dict[str, AttemptRequest] = {}
        self._retry_at = 0.0
        self._busy = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, endings: Iterable[Ending]) -> None:
        """These attempts have ended so."""
        endings = list(endings)
        with self._changed:
            self._requests.update((request.id, request) for request, _ in endings)
            self._new.extend(endings)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def __bool__(self) -> bool:
        """Whether outcomes wait."""
        return bool(self._new or self._held)

    def request_of(self, attempt_id: str) -> AttemptRequest | None:
        """The attempt, if its outcome waits or is on the way into the database this very moment."""
        return self._requests.get(attempt_id)

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until nothing waits and ``settle`` knows of all that is committed; False when the time ran out."""
        with self._changed:
            self._retry_at = 0.0
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self and not self._busy, timeout=timeout_seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (waiting := self._due()):
                    self._changed.wait(PAUSE_SECONDS if self._held else None)
                self._busy = True
            try:
                self._record(waiting)
            except Exception:  # whatever it is, the outcomes that come after it must be recorded
                logger.exception("outcomes are tried again")
                time.sleep(PAUSE_SECONDS)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _due(self) -> deque[Ending] | None:
        """What is to be tried now."""
        if self._held and time.monotonic() >= self._retry_at:
            return self._held
        return self._new or None

    def _record(self, waiting: deque[Ending]) -> None:
        group = [waiting[at] for at in range(min(MOST_AT_ONCE, len(waiting)))]
        reached = record([Ended(request.job, outcome, request.hostname) for request, outcome in group])
        with self._changed:
            for ending, state in zip(group, reached, strict=True):
                if state == HELD:
                    self._held.append(ending)
                    self._retry_at = time.monotonic() + PAUSE_SECONDS
            for _ in group:
                waiting.popleft()
            for (request, _), state in zip(group, reached, strict=True):
                if state != HELD:
                    self._requests.pop(request.id, None)
        if settled := [(*ending, state) for ending, state in zip(group, reached, strict=True) if state != HELD]:
            self._settle(settled)
