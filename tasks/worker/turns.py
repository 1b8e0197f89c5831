"""What the pool runs next: one attempt where it may take long, several one after another where they are short.

The way to a pool child and back costs more than a short task itself. How long a task takes is measured, never declared.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

from billiard.exceptions import TimeLimitExceeded as PoolTimeLimit
from celery.exceptions import TaskRevokedError

from tasks.worker.execution import TURN_SECONDS, run_turn
from tasks.worker.journal import Page
from tasks.worker.outcome import Outcome
from tasks.worker.request import AttemptRequest, Ending

MOST_ATTEMPTS = 200
LONG_SECONDS = 0.5
"""After so long a turn's slot counts as taken: what waits in it is taken back, and nothing is claimed for it."""
STUCK_SECONDS = 2.0
"""Once every slot has been taken for so long, what waits for one is given to other workers."""


class Pace:
    """How long attempts of each task take on average, the latest counting most. What waits behind one that takes longer
    is taken back (Line.unstick)."""

    WEIGHT = 0.05
    LATELY_SECONDS = 5.0

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._noted_at: dict[str, float] = {}

    def note(self, task: str, seconds: float) -> None:
        """An attempt of ``task`` has ended after ``seconds``."""
        known = self._seconds.get(task, seconds)
        self._seconds[task] = known + (seconds - known) * self.WEIGHT
        self._noted_at[task] = time.monotonic()

    def largest_share(self) -> float | None:
        """Of the tasks that have run lately; None where none has."""
        since = time.monotonic() - self.LATELY_SECONDS
        return max((self.share(task) for task, at in tuple(self._noted_at.items()) if at > since), default=None)

    def share(self, task: str) -> float:
        """How much of a turn an attempt of ``task`` takes up: 1 is all of it, or nobody knows yet."""
        share = self._seconds.get(task, TURN_SECONDS) / TURN_SECONDS
        return max(share, 1 / MOST_ATTEMPTS) if share <= 0.5 else 1.0


class Turn:
    """Attempts that one slot of the pool runs one after another. For Celery's worker it is one request."""

    def __init__(
        self,
        requests: Sequence[AttemptRequest],
        *,
        on_end: Callable[["Turn", list[Ending], list[AttemptRequest]], None],
    ):
        self.requests = list(requests)
        """What has not been heard of: the attempt that runs, after those that have just ended, before those that have
        not begun."""
        self.accepted = False
        """Whether a child has it."""
        self._on_end = on_end
        self._page = Page.open()
        self._heard = 0  # outcomes that are known already
        self._over = False
        self._changing = threading.Lock()  # a pool of threads returns on a thread of its own
        self._long = requests[0].share == 1
        self._since: float | None = None

    @property
    def is_long(self) -> bool:
        """Whether its slot is taken for longer than a turn should take, as far as can be told."""
        return self._long or self.seconds > LONG_SECONDS

    @property
    def seconds(self) -> float:
        """How long it has had its slot; 0 while it waits for one, as it may when the pool is about to grow."""
        return time.monotonic() - self._since if self._since is not None else 0.0

    def execute_using_pool(self, pool: Any) -> None:
        """Called by Celery's worker when the pool has a slot for it. TaskRevokedError, Celery's word for a slot that is
        not needed, where all has been taken back meanwhile."""
        if not self.requests:
            self._end(lambda: [])
            raise TaskRevokedError("nothing of the turn is left to run")
        self._since = time.monotonic()
        first = self.requests[0]
        late = TURN_SECONDS if len(self.requests) > 1 else 0  # the last of a turn may begin as late as that
        pool.apply_async(
            run_turn,
            args=(self._page.mark, [request.errand for request in self.requests], first.hostname),
            accept_callback=self._on_accepted,
            timeout_callback=self._on_timeout,
            callback=self._on_return,
            error_callback=self._on_loss,
            soft_timeout=first.task.soft_time_limit + late,
            timeout=first.task.time_limit + late,
            correlation_id=first.id,
        )

    def abandon(self) -> list[AttemptRequest]:
        """The attempts of a turn that the pool has forgotten. A child may be about to begin it all the same."""
        with self._changing:
            if self._over:
                return []
            self._page.cut()
            return self._leave([], abandoned=True)[1]

    def take_back(self) -> tuple[list[Ending], list[AttemptRequest]]:
        """What has ended, and what has not begun: from now on the turn is of the attempt alone that runs."""
        with self._changing:
            if self._over:
                return [], []
            begun = self._page.cut() - self._heard
            endings = self._endings(self._page.outcomes())
            self._heard += len(endings)
            not_begun, self.requests = self.requests[begun:], self.requests[len(endings) : begun]
        for request in not_begun:
            request.on_taken_back()
        for request in self.requests:
            request.share = 1.0
        return endings, not_begun

    def _on_accepted(self, process_id: int, accepted_at: float) -> None:
        self.accepted = True
        for request in self.requests:
            request.on_accepted(process_id, accepted_at)

    def _on_return(self, outcomes: Sequence[Outcome], **_: Any) -> None:
        """The child is done, be it that the time ran out before all had begun."""
        self._end(lambda: outcomes)

    def _on_loss(self, exc_info: Any, *_: Any, **__: Any) -> None:
        """The child did not come back, or what it said could not cross the pipe."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(error, PoolTimeLimit):
            self._on_timeout(soft=False, timeout=error.args[0])
        else:
            self._end(lambda: self._with_the_blamed(lambda request: request.lost(error)))

    def _on_timeout(self, soft: bool, timeout: float) -> None:
        """The soft limit is the child's own business; at the hard one it is killed and its attempt is over. Told twice,
        as a failure and as a timeout."""
        if not soft:
            self._end(lambda: self._with_the_blamed(lambda request: request.out_of_time()))

    def _with_the_blamed(self, how: Callable[[AttemptRequest], Outcome]) -> list[Outcome]:
        """The outcomes of a child that is no more. The attempt it had begun ended it, or the first one where it had
        begun none: just to read that one may have been too much. Those after it never began, nor did any that has been
        taken back, though the child may have said that it was about to begin it."""
        begun, outcomes = self._page.cut(), self._page.outcomes()
        left = self.requests[len(outcomes) - self._heard :]
        if left and (begun > len(outcomes) or not begun):
            outcomes.append(how(left[0]))
        return outcomes

    def _end(self, outcomes: Callable[[], Sequence[Outcome]]) -> None:
        with self._changing:
            if self._over:  # abandoned, and it comes back all the same
                return
            endings, not_begun = self._leave(outcomes())
        self._on_end(self, endings, not_begun)

    def _leave(
        self, outcomes: Sequence[Outcome], *, abandoned: bool = False
    ) -> tuple[list[Ending], list[AttemptRequest]]:
        endings = self._endings(outcomes)
        not_begun, self.requests = self.requests[len(endings) :], []
        self._over = True
        self._page.close(abandoned=abandoned)
        return endings, not_begun

    def _endings(self, outcomes: Sequence[Outcome]) -> list[Ending]:
        """Those that are news. ``outcomes`` are all of the turn's so far."""
        return list(zip(self.requests, outcomes[self._heard :], strict=False))


class Line:
    """Claimed attempts on their way through the pool: those that wait for a slot, and the turns that have one.

    ``start`` hands a turn to the pool, ``slots`` says how many it runs at once, ``soon`` calls a function on the main
    thread, the only one that may touch the line.
    """

    def __init__(
        self,
        *,
        start: Callable[[Turn], None],
        slots: Callable[[], int],
        soon: Callable[..., None],
        on_endings: Callable[[list[Ending]], None],
        on_free_slot: Callable[[], None],
    ):
        self.pace = Pace()
        self.waiting: deque[AttemptRequest] = deque()
        self._start = start
        self._slots = slots
        self._soon = soon
        self._on_endings = on_endings
        self._on_free_slot = on_free_slot
        self._turns: set[Turn] = set()

    @property
    def free_slots(self) -> int:
        """Slots of the pool that nothing waits for."""
        return self._slots() - len(self._turns) - len(self.waiting)

    @property
    def is_stuck(self) -> bool:
        """Whether attempts wait, and every slot has been taken for so long that another worker may be sooner."""
        if not self.waiting or len(self._turns) < self._slots():
            return False
        return all(turn.seconds > STUCK_SECONDS for turn in self._turns)

    def largest_share(self) -> float | None:
        """How much of a turn attempts take up these days, at most; None where nobody knows."""
        stuck = any(turn.seconds > STUCK_SECONDS for turn in self._turns)
        return 1.0 if stuck else self.pace.largest_share()

    def room(self) -> float:
        """Turns' worth of attempts that may be claimed: one for each free slot, and one for each that runs a short
        turn. Nothing is claimed for a slot that is taken for long: another worker may be idle."""
        short = sum(not turn.is_long for turn in self._turns)
        return self._slots() - len(self._turns) + short - sum(request.share for request in self.waiting)

    def join(self, requests: Iterable[AttemptRequest], *, first: bool = False) -> None:
        """Have ``requests`` run, in their order: after what waits already, or before it."""
        if first:
            self.waiting.extendleft(reversed(list(requests)))
        else:
            self.waiting.extend(requests)
        while self.waiting and (free := self._slots() - len(self._turns)) > 0:
            taken = self._take(free)
            turn = Turn(taken, on_end=self._on_end)
            self._turns.add(turn)
            self._start(turn)

    def unstick(self) -> None:
        """Take back what waits behind an attempt that turns out long, and hear how those before it ended."""
        for turn in tuple(self._turns):
            if turn.is_long and len(turn.requests) > 1:
                self.join(self._take_back(turn), first=True)

    def leave(self) -> list[AttemptRequest]:
        """What waits, now out of the line."""
        left, self.waiting = list(self.waiting), deque()
        return left

    def leave_queues(self, queues: Container[str]) -> list[AttemptRequest]:
        """What has not begun of the jobs of ``queues``, now out of the line."""
        for turn in tuple(self._turns):
            if any(request.job.queue in queues for request in turn.requests[1:]):
                self.waiting.extendleft(reversed(self._take_back(turn)))
        left = [request for request in self.waiting if request.job.queue in queues]
        if left:
            self.waiting = deque(request for request in self.waiting if request.job.queue not in queues)
        self.join(())
        return left

    def clear(self) -> list[AttemptRequest]:
        """All that has not begun, now out of the line. From any thread, once no slot is filled any more."""
        not_begun = [request for turn in tuple(self._turns) for request in self._take_back(turn)]
        return [*not_begun, *self.leave()]

    def forget_unaccepted(self) -> list[AttemptRequest]:
        """The pool has been flushed: turns that no child has begun are no more. Their attempts, and what waits."""
        lost = {turn for turn in self._turns if not turn.accepted}
        self._turns -= lost
        return [*(request for turn in lost for request in turn.abandon()), *self.leave()]

    def _take(self, free_slots: int) -> list[AttemptRequest]:
        """The next turn: what fits into its time, and no more than a fair share of what waits."""
        fair = -(-len(self.waiting) // free_slots)
        taken = [self.waiting.popleft()]
        left = 1.0 - taken[0].share
        while self.waiting and len(taken) < fair and self.waiting[0].can_follow(taken[0]):
            left -= self.waiting[0].share
            if left < -0.001:
                break
            taken.append(self.waiting.popleft())
        return taken

    def _take_back(self, turn: Turn) -> list[AttemptRequest]:
        endings, not_begun = turn.take_back()
        self._hear(endings)
        return not_begun

    def _on_end(self, turn: Turn, endings: list[Ending], not_begun: list[AttemptRequest]) -> None:
        """Called by the pool, from another thread where it is one of threads."""
        self._hear(endings)
        self._soon(self._free, turn, not_begun)

    def _hear(self, endings: list[Ending]) -> None:
        for request, outcome in endings:
            if outcome.seconds:  # of a child that did not come back nobody has measured it
                self.pace.note(request.job.task, outcome.seconds)
        self._on_endings(endings)

    def _free(self, turn: Turn, not_begun: list[AttemptRequest]) -> None:
        self._turns.discard(turn)
        self.join(not_begun, first=True)
        self._on_free_slot()
