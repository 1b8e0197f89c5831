"""One attempt as the worker's main process sees it: sent to the pool, watched, recorded, then acknowledged."""

import re
import time
from collections.abc import Callable
from typing import Any

from billiard.exceptions import TimeLimitExceeded as PoolTimeLimit
from celery.worker import state
from celery.worker.request import Request

from tasks.models import DeadLetter, Job
from tasks.states import JobState
from tasks.worker.execution import run_attempt
from tasks.worker.outcome import Outcome
from tasks.worker.supervision import TimeLimitExceeded, WorkerLost, lost_outcome
from tasks.worker.witness import Witness

_EVENTS = {
    JobState.SUCCEEDED: "task-succeeded",
    JobState.RETRYING: "task-retried",
    JobState.CANCELLED: "task-revoked",
    JobState.DEAD: "task-failed",
}


class AttemptRequest(Request):
    """Celery's request, with the job's row in place of the message's arguments.

    The message is settled by ``settle`` alone, after the outcome is committed. Celery's own revocation, expiry and
    result storing are left out: cancellation, deadlines and outcomes are rows.
    """

    def __init__(
        self,
        message: Any,
        job: Job,
        *,
        on_end: Callable[["AttemptRequest", Outcome], object],
        witness: Witness,
        **options: Any,
    ):
        id = f"{job.pk}.{job.attempt}"
        headers = {
            **message.headers,
            "id": id,
            "root_id": str(job.pk),
            "task": job.task,
            "retries": job.attempt - 1,
            "eta": None,
            "expires": None,
            "timelimit": None,
            "job": {
                "id": str(job.pk),
                "attempt": job.attempt,
                "number": job.attempt - job.attempt_base,
                "metadata": job.metadata,
                "requested_by": job.requested_by,
            },
        }
        super().__init__(message, headers=headers, body=((), job.payload, {}), decoded=True, **options)
        self.job = job
        self._on_end = on_end
        self._witness = witness
        self._ended_at = 0.0

    def execute_using_pool(self, pool: Any, **_: Any) -> Any:
        """Called by the worker when a slot of the pool is free."""
        request = {**self._request_dict, "is_eager": False}
        result = pool.apply_async(
            run_attempt,
            args=(self.job.task, self.id, request, self.job.payload),
            accept_callback=self.on_accepted,
            timeout_callback=self.on_timeout,
            callback=self.on_success,
            error_callback=self.on_failure,
            soft_timeout=self.task.soft_time_limit,
            timeout=self.task.time_limit,
            correlation_id=self.id,
        )
        self._apply_result = None
        return result

    def on_success(self, outcome: Outcome, **_: Any) -> None:
        """The child came back: succeeded or not, the outcome says."""
        self._end(outcome)

    def on_failure(self, exc_info: Any, *_: Any, **__: Any) -> None:
        """The child did not come back, or its outcome could not cross the pipe."""
        error = exc_info.exception
        error = getattr(error, "exc", error)
        if isinstance(error, PoolTimeLimit):
            return self.on_timeout(soft=False, timeout=self.task.time_limit)
        how = re.sub(r" Job: \d+\.$", "", str(error)) or type(error).__name__  # the pool's own number of it
        evidence = self._witness.testify(self.id, self.worker_pid, how)
        lost = WorkerLost(f"attempt {self.job.attempt} on {self.hostname}: {how}")
        self._end(lost_outcome(self.job, lost, DeadLetter.Reason.WORKER_LOST, evidence))

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """The soft limit is the child's own business; at the hard one it is killed and the attempt is over."""
        if soft:
            return
        error = TimeLimitExceeded(f"attempt {self.job.attempt} was ended after {timeout:g} s, its task's time limit")
        self._end(lost_outcome(self.job, error, DeadLetter.Reason.TIME_LIMIT))

    def settle(self, reached: JobState | None, outcome: Outcome) -> None:
        """Acknowledge or reject, and tell Flower. ``reached`` is None when the outcome came too late to count."""
        if reached == JobState.DEAD:
            self.reject(requeue=False)
        else:
            self.acknowledge()
        event = _EVENTS.get(reached) if reached else None
        if event == "task-succeeded":
            self.send_event(event, result=repr(outcome.result)[:200], runtime=self._runtime_seconds())
        elif event == "task-revoked":
            self.send_event(event, terminated=False, signum=None, expired=False)
        elif event:
            self.send_event(
                event, exception=f"{outcome.error_type}: {outcome.error}"[:1000], traceback=outcome.traceback
            )

    @property
    def ran_seconds(self) -> float | None:
        """How long the attempt has been running; None while it waits for a slot of the pool."""
        return time.time() - self.time_start if self.time_start else None

    def revoked(self) -> bool:
        """Never by Celery's volatile list: cancellation is a row."""
        return False

    def _runtime_seconds(self) -> float | None:
        return round(self._ended_at - self.time_start, 6) if self.time_start else None

    def _end(self, outcome: Outcome) -> None:
        if self._ended_at:  # a hard limit is told twice, as a failure and as a timeout
            return
        self._ended_at = time.time()
        state.task_ready(self, successful=outcome.succeeded)
        self._on_end(self, outcome)
