"""Stopping and starting anew: what runs may end within a time budget, and what does not is handed back, unspent.

A first SIGTERM or SIGINT takes no more messages and begins the budget; a second one, or SIGQUIT, ends it at once.
Interrupted is not failed: an attempt that a deploy cuts short costs its job nothing.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from celery.platforms import EX_FAILURE
from celery.worker import state
from django.db import DatabaseError, InterfaceError, connection

from tasks import publisher
from tasks.models import Job
from tasks.states import JobState
from tasks.worker import supervision
from tasks.worker.claiming import hand_back
from tasks.worker.request import AttemptRequest

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
HANGUP_COUNTS = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # not under nohup
REAP_SECONDS = 2.0
LAST_RESORT_SECONDS = 15.0


class Shutdown:
    """The end of one life of a worker. Asked for by signals and by the watchdog, enforced from a thread of its own:
    the main thread may be the very thing that hangs."""

    def __init__(self, worker: Any, grace_seconds: float):
        self._worker = worker
        self._grace_seconds = grace_seconds
        self._deadline: float | None = None
        self._restart = False
        self._signalled = False
        self._told = False
        self._leaving = threading.Lock()
        self.interrupts = False
        """Whether the children are being killed: their loss is no outcome then."""

    @property
    def asked(self) -> bool:
        """Whether the worker is stopping: it claims nothing more."""
        return self._deadline is not None

    @property
    def seconds_left(self) -> float:
        """Until the deadline; 0 after it."""
        return 0.0 if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def listen(self) -> None:
        """Take the signals over from Celery, whose warm stop has no limit and whose cold one fails what runs."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._on_signal)
        if HANGUP_COUNTS:
            signal.signal(signal.SIGHUP, self._on_signal)

    def ask(self, *, at_once: bool = False, restart: bool = False) -> None:
        """Stop in good order, or ``at_once`` without waiting for what runs. With ``restart`` the same command line
        begins anew, under the same process id; whoever wishes the end for good is obeyed before."""
        if restart and self.asked:
            return
        self._restart = restart
        self._deadline = time.monotonic() + (0 if at_once else self._grace_seconds)
        state.should_stop = 0  # Celery's word for it: the event loop ends at its next turn

    def watch(self) -> None:
        """Say once what is waited for; at the deadline, ``end``."""
        if self._deadline is None:
            return
        if not self._told:
            self._told = True
            running = self._worker.consumer.attempts_in_hand
            logger.warning("stopping; %d attempts may run for %g s more", len(running), self._grace_seconds)
        if time.monotonic() >= self._deadline:
            self.end()

    def finish(self) -> None:
        """The pool has drained: keep the outcomes that still wait for the database, if it returns in time."""
        with self._leaving:
            consumer = self._worker.consumer
            connection.close()  # the next one is made within a time limit; this one may hang
            consumer.flush_outcomes(self.seconds_left)
            self._hand_back([])  # the pool is empty: what the database still says runs here is a claim nobody heard of
            self._leave()

    def end(self) -> None:
        """Kill what runs, hand it back and leave. Does not return."""
        last_resort = threading.Timer(LAST_RESORT_SECONDS, self._go)
        last_resort.daemon = True
        last_resort.start()  # should the database hang as well
        with self._leaving:
            try:
                interrupted = self._worker.consumer.attempts_in_hand
                self.interrupts = True
                self._kill_children()
                self._worker.consumer.salvage()
                self._worker.consumer.flush_outcomes(FLUSH_SECONDS)
                self._hand_back(interrupted)
                if self._worker.pidlock:
                    self._worker.pidlock.release()
                self._leave()
            except BaseException:  # whatever it is: nobody waits for this process any longer
                logger.exception("the worker could not stop in good order; what it ran is left to supervision")
                self._go()
            logging.shutdown()
            os._exit(self._worker.exitcode or 0)

    def _go(self) -> None:
        """Without another word."""
        if self._restart:
            os.execv(sys.executable, sys.orig_argv)
        os._exit(EX_FAILURE)

    def _leave(self) -> None:
        publisher.flush(FLUSH_SECONDS)
        try:
            supervision.sign_off(self._worker.worker_process)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("this worker could not sign off: %s", error)
        connection.close()
        if self._restart:
            logger.warning("starting anew: %s", " ".join(sys.orig_argv))
            logging.shutdown()
            os.execv(sys.executable, sys.orig_argv)

    def _kill_children(self) -> None:
        pool = self._worker.pool
        children = [child for child in pool.info.get("processes", ()) if child != os.getpid()]
        if children:  # threads end with this process
            pool._pool.close()  # so that none is replaced
            _kill(children)

    def _hand_back(self, interrupted: Sequence[AttemptRequest]) -> None:
        """By what the database says that this worker runs: a claim may have been made this very moment."""
        ran = {request.job.pk: request.ran_seconds for request in interrupted}
        try:
            mine = Job.objects.filter(state=JobState.RUNNING, worker=self._worker.worker_process)
            holds = self._worker.consumer.holds_outcome_of
            attempts = [at for at in mine.values_list("pk", "attempt") if not holds(f"{at[0]}.{at[1]}")]
            jobs, held = hand_back(attempts, self._worker.worker_process, why="the worker was stopped")
        except (DatabaseError, InterfaceError) as error:
            connection.close()
            logger.warning("%d attempts are left to supervision: %s", len(interrupted), error)
            return
        if interrupted or jobs:
            logger.warning("handed back %d attempts, unspent", len(jobs))
        if held:
            logger.warning("%d attempts are left to supervision: somebody's transaction holds their rows", len(held))
        for job in jobs:
            seconds = ran.get(job.pk)
            how_far = "before it began" if seconds is None else f"after {seconds:.1f} s"
            logger.warning("handed back: job %s.%d %s, %s", job.pk, job.attempt, job.task, how_far)

    def _on_signal(self, number: int, _frame: Any) -> None:
        if os.getpid() != self._worker.worker_process.pid:  # a forked child inherits the handler
            return
        at_once = number == signal.SIGQUIT or self._signalled
        self._signalled = True
        self.ask(at_once=at_once, restart=number == signal.SIGHUP and not sys.stdout.isatty())


def _kill(process_ids: Sequence[int]) -> None:
    """SIGKILL, to what the children have started as well; returns once they are gone, so that nothing of theirs happens
    after the hand-back."""
    for process_id in process_ids:
        with suppress(ProcessLookupError):
            if os.getpgid(process_id) == process_id:  # child.py makes it so
                os.killpg(process_id, signal.SIGKILL)
            else:
                os.kill(process_id, signal.SIGKILL)
    deadline = time.monotonic() + REAP_SECONDS
    for process_id in process_ids:
        with suppress(ChildProcessError):  # the pool has reaped it
            while os.waitpid(process_id, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
                time.sleep(0.01)
