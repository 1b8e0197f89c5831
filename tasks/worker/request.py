"""One attempt as the worker's main process sees it: sent to the pool, watched, recorded, then acknowledged."""

import logging
import os
import re
import time
from typing import Any

from billiard.common import human_status
from billiard.exceptions import WorkerLostError
from celery.worker.request import Request

from tasks.models import DeadLetter, Job
from tasks.states import JobState
from tasks.worker.execution import Errand
from tasks.worker.outcome import Outcome
from tasks.worker.recording import Reached
from tasks.worker.supervision import TimeLimitExceeded, WorkerLost, lost_outcome
from tasks.worker.witness import Witness

logger = logging.getLogger(__name__)

_EVENTS: dict[Reached, str] = {
    JobState.SUCCEEDED: "task-succeeded",
    JobState.RETRYING: "task-retried",
    JobState.CANCELLED: "task-revoked",
    JobState.DEAD: "task-failed",
}


class AttemptRequest(Request):
    """Celery's request, with the job's row in place of the message's arguments.

    Its message is settled after the outcome is committed (recorder.py). Celery's own revocation, expiry and result
    storing are left out: cancellation, deadlines and outcomes are rows.
    """

    def __init__(
        self,
        message: Any,
        job: Job,
        payload: str,
        *,
        share: float,
        witness: Witness,
        **options: Any,
    ):
        headers = {
            **message.headers,
            "id": f"{job.pk}.{job.attempt}",
            "root_id": str(job.pk),
            "task": job.task,
            "retries": job.attempt - 1,
            "eta": None,
            "expires": None,
            "timelimit": None,
        }
        super().__init__(message, headers=headers, body=((), {}, {}), decoded=True, **options)
        self.job = job
        number = job.attempt - job.attempt_base
        self.errand = Errand(
            task=job.task,
            job_id=str(job.pk),
            attempt=job.attempt,
            number=number,
            requested_by=job.requested_by,
            metadata=job.metadata,
            payload=payload,
            delivery_info=self.delivery_info,
        )
        self.limits = (self.task.soft_time_limit, self.task.time_limit)
        alone = job.lost_deliveries > 0 or number >= self.task.spec.retry.max_attempts
        self.share = 1.0 if alone else share
        """How much of a turn it takes up. All of it where its job has taken a process with it before, or can not afford
        to lose the attempt."""
        self._witness = witness

    def tell_received(self) -> None:
        """Tell Flower that the attempt waits for its slot."""
        self.send_event(
            "task-received",
            name=self.job.task,
            args="()",
            kwargs="{}",
            root_id=self.root_id,
            retries=self.job.attempt - 1,
        )

    def can_follow(self, other: "AttemptRequest") -> bool:
        """Whether it may run in the turn that ``other`` leads: one turn has one time limit."""
        return self.limits == other.limits

    def lost(self, error: BaseException) -> Outcome:
        """How the attempt ended whose process is gone."""
        how = re.sub(r" Job: \d+\.$", "", str(error)) or type(error).__name__  # the pool's own number of it
        evidence = self._witness.testify(self.id, self.worker_pid, how)
        lost = WorkerLost(f"attempt {self.job.attempt} on {self.hostname}: {how}")
        return lost_outcome(self.job, lost, DeadLetter.Reason.WORKER_LOST, evidence)

    def out_of_time(self) -> Outcome:
        """How the attempt ended that is about to be killed at its task's hard time limit. Where the main process was
        held up, its own process may have been gone by then, unnoticed."""
        if how := _how_it_ended(self.worker_pid):
            return self.lost(WorkerLostError(f"Worker exited prematurely: {how}"))
        limit = f"{self.task.time_limit:g} s, its task's time limit"
        error = TimeLimitExceeded(f"attempt {self.job.attempt} was ended after {limit}")
        return lost_outcome(self.job, error, DeadLetter.Reason.TIME_LIMIT)

    def adopt(self, message: Any) -> None:
        """Have ``message`` settled when the attempt ends. It was delivered in place of its own, whose connection is
        lost; acknowledged now, it would be missing in the dead queue should its job die of this attempt."""
        self._message = message

    def on_taken_back(self) -> None:
        """It waits again: no process has it."""
        self.worker_pid = self.time_start = None

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Remote control's word. Only an attempt that has a process to itself is ended: others would end with it."""
        if self.share == 1:
            super().terminate(pool, signal)
        else:
            logger.warning("%s shares its process and is not terminated; cancel its job instead", self.id)

    def tell(self, outcome: Outcome, reached: Reached) -> None:
        """Tell Flower. ``reached`` is None when the outcome came too late to count."""
        event = _EVENTS.get(reached)
        if event == "task-succeeded":
            self.send_event(event, result=repr(outcome.result)[:200], runtime=round(outcome.seconds, 6))
        elif event == "task-revoked":
            self.send_event(event, terminated=False, signum=None, expired=False)
        elif event:
            error = f"{outcome.error_type}: {outcome.error}"[:1000]
            self.send_event(event, exception=error, traceback=outcome.traceback)

    @property
    def ran_seconds(self) -> float | None:
        """How long the attempt has been running; None while it waits for a slot of the pool."""
        return time.time() - self.time_start if self.time_start else None

    def revoked(self) -> bool:
        """Never by Celery's volatile list: cancellation is a row."""
        return False


def _how_it_ended(process_id: int | None) -> str:
    """What ended a child that nobody has reaped yet, in the pool's words; nothing while it lives."""
    if process_id is None:
        return ""
    try:
        ended = os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # the main process itself, with a pool of threads; or one that is reaped
        return ""
    if ended is None:
        return ""
    return human_status(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)


Ending = tuple[AttemptRequest, Outcome]
"""An attempt that is over, and how."""
