"""Outcome -> recorded -> message settled, and only in this order."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from tasks.states import JobState
from tasks.worker.deliveries import Deliveries
from tasks.worker.outcome import Outcome
from tasks.worker.recorder import Recorder
from tasks.worker.recording import Reached
from tasks.worker.request import AttemptRequest, Ending


class Settling:
    """The last part of an attempt's way. ``soon`` has a function called on the thread that owns
    ``deliveries``, or ignores it: whoever ends that thread calls ``settle`` himself."""

    def __init__(self, *, soon: Callable[[Callable[[], None]], None], deliveries: Callable[[], Deliveries]):
        self._soon = soon
        self._deliveries = deliveries
        self._recorder = Recorder(settle=self._on_committed)
        self._committed: deque[tuple[AttemptRequest, Outcome, Reached]] = deque()

    def __bool__(self) -> bool:
        """Whether outcomes wait for the database."""
        return bool(self._recorder)

    def add(self, endings: Iterable[Ending]) -> None:
        """These attempts have ended so. From any thread."""
        self._recorder.add(endings)

    def request_of(self, attempt_id: str) -> AttemptRequest | None:
        """The attempt, if its outcome is not in the database yet."""
        return self._recorder.request_of(attempt_id)

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all outcomes are recorded; False when the time ran out. Their messages are still to ``settle``."""
        return self._recorder.flush(timeout_seconds)

    def settle(self) -> None:
        """Acknowledge or reject the messages of what is committed by now, and tell Flower."""
        ended = []
        while self._committed:  # the recorder appends meanwhile
            ended.append(self._committed.popleft())
        deliveries = self._deliveries()
        deliveries.acknowledge(request.message for request, _, reached in ended if reached != JobState.DEAD)
        for request, outcome, reached in ended:
            if reached == JobState.DEAD:
                deliveries.reject(request.message)
            request.tell(outcome, reached)

    def _on_committed(self, ended: Sequence[tuple[AttemptRequest, Outcome, Reached]]) -> None:
        """Called by the recorder, from its own thread."""
        self._committed.extend(ended)
        self._soon(self.settle)
