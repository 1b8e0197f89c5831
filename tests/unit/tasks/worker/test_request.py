"""An attempt in the worker's main process: what shares its turn, and how it ended when its child can not tell."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.exceptions import WorkerLostError
from celery import current_app

from tasks.models import Job
from tasks.registry import registry
from tasks.states import JobState
from tasks.worker.outcome import Outcome
from tasks.worker.request import AttemptRequest
from tasks.worker.witness import Witness
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db


class Eventer:
    """Takes what is told to Flower."""

    def __init__(self) -> None:
        self.enabled, self.told = True, []

    def send(self, type: str, **fields: Any) -> None:
        self.told.append((type, fields))


def request(job: Job | None = None, *, share: float = 0.25, **values: Any) -> AttemptRequest:
    job = job or make_job(JobState.RUNNING, **values)
    message = SimpleNamespace(
        headers={"task": job.task, "id": "of the message", "timelimit": [1, 1], "expires": "2001-01-01"},
        delivery_info={"exchange": "e", "routing_key": "r", "redelivered": True},
        properties={},
        body=b"",
        payload=None,
    )
    return AttemptRequest(
        message,
        job,
        json.dumps(job.payload),
        share=share,
        witness=SimpleNamespace(testify=lambda *about: {"about": about}),
        app=current_app,
        hostname="w@test",
        eventer=Eventer(),
        task=current_app.tasks[job.task],
    )


def test_the_child_is_told_of_the_row_and_not_of_the_message():
    job = make_job(
        JobState.RUNNING, attempt=5, attempt_base=3, payload={"text": "ü"}, metadata={"a": 1}, requested_by="ann"
    )
    errand = request(job).errand
    assert (errand.task, errand.job_id, errand.attempt, errand.number) == (job.task, str(job.pk), 5, 2)
    assert (errand.attempt_id, json.loads(errand.payload)) == (f"{job.pk}.5", {"text": "ü"})
    assert (errand.metadata, errand.requested_by) == ({"a": 1}, "ann")
    assert errand.delivery_info["redelivered"]


def test_an_attempt_takes_up_as_much_of_a_turn_as_its_task_does():
    assert request(share=0.25).share == 0.25


def test_a_job_that_has_taken_a_process_with_it_runs_alone():
    assert request(lost_deliveries=1).share == 1.0


def test_an_attempt_that_is_the_last_one_runs_alone():
    most = registry.get("probe.echo").retry.max_attempts
    assert [request(attempt=attempt).share for attempt in (1, most - 1, most)] == [0.25, 0.25, 1.0]
    assert request(attempt=most + 2, attempt_base=2).share == 1.0
    assert request(attempt=most + 1, attempt_base=2).share == 0.25


def test_attempts_of_tasks_with_other_time_limits_do_not_follow_each_other():
    echo, nap, fail = request(), request(task="probe.nap"), request(task="probe.fail")
    assert registry.get("probe.echo").time_limit_seconds == registry.get("probe.nap").time_limit_seconds
    assert (nap.can_follow(echo), echo.can_follow(nap)) == (True, True)
    assert (fail.can_follow(echo), echo.can_follow(fail)) == (False, False)


def test_a_lost_attempt_says_how_its_process_ended_and_has_evidence():
    lost = request()
    lost.worker_pid = 4711
    outcome = lost.lost(WorkerLostError("Worker exited prematurely: signal 9 (SIGKILL) Job: 77."))
    assert (outcome.lost, outcome.error_type) == (True, "WorkerLost")
    assert outcome.error == "attempt 1 on w@test: Worker exited prematurely: signal 9 (SIGKILL)"
    assert outcome.evidence["about"] == (lost.id, 4711, "Worker exited prematurely: signal 9 (SIGKILL)")
    assert outcome.retry_in_seconds is not None


def test_an_attempt_that_ran_out_of_time_says_of_which():
    outcome = request(task="probe.fail").out_of_time()
    assert (outcome.lost, outcome.reason) == (False, "time_limit")
    assert outcome.error == "attempt 1 was ended after 3 s, its task's time limit"


@pytest.fixture
def child() -> Iterator[Callable[[Callable[[], object]], int]]:
    """Forks a process that does as it is told and is reaped by nobody before the test is over."""
    children: list[int] = []

    def fork(life: Callable[[], object]) -> int:
        process_id = os.fork()
        if process_id == 0:
            try:
                life()
            finally:
                os._exit(99)
        children.append(process_id)
        return process_id

    yield fork
    for process_id in children:
        os.kill(process_id, signal.SIGKILL)
        os.waitpid(process_id, 0)


@pytest.mark.parametrize(
    ("end", "how", "evidence"),
    [
        (lambda: os._exit(3), "exitcode 3", {"exit_code": 3}),
        (lambda: os._exit(0), "exitcode 0", {"exit_code": 0}),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "signal 9 (SIGKILL)", {"signal": "SIGKILL"}),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "signal 15 (SIGTERM)", {"signal": "SIGTERM"}),
    ],
    ids=["exit 3", "exit 0", "SIGKILL", "SIGTERM"],
)
def test_an_attempt_whose_process_was_gone_before_its_time_was_up_is_lost(child, end, how, evidence):
    """The main process was held up, and hears of the one only when the other is due."""
    late = request(task="probe.fail")
    late._witness = Witness(resident=lambda process_id: None)
    late.worker_pid = child(end)
    os.waitid(os.P_PID, late.worker_pid, os.WEXITED | os.WNOWAIT)

    outcome = late.out_of_time()

    assert (outcome.lost, outcome.error_type) == (True, "WorkerLost")
    assert outcome.error == f"attempt 1 on w@test: Worker exited prematurely: {how}", "in the words of the pool"
    assert evidence.items() <= outcome.evidence.items()
    left = os.waitid(os.P_PID, late.worker_pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    assert left.si_pid == late.worker_pid, "it is the pool's to reap"


def test_an_attempt_whose_process_lives_ran_out_of_time(child):
    late = request(task="probe.fail")
    late.worker_pid = child(signal.pause)
    assert late.out_of_time().reason == "time_limit"


def test_an_attempt_whose_process_is_no_child_or_no_more_ran_out_of_time():
    """With a pool of threads it is the main process. One that is reaped is known to be lost already."""
    reaped = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(reaped, 0)
    for process_id in (os.getpid(), reaped, None):
        late = request(task="probe.fail")
        late.worker_pid = process_id
        assert late.out_of_time().reason == "time_limit"


def test_an_attempt_that_was_taken_back_has_neither_process_nor_run():
    taken = request()
    taken.on_accepted(4711, time.monotonic())
    assert (taken.worker_pid, taken.ran_seconds is None) == (4711, False)
    taken.on_taken_back()
    assert (taken.worker_pid, taken.ran_seconds) == (None, None)


@pytest.mark.parametrize(("share", "ended"), [(1.0, [(4711, signal.SIGKILL)]), (0.25, [])])
def test_remote_control_ends_only_an_attempt_that_has_its_process_to_itself(share, ended, caplog):
    told: list[Any] = []
    running = request(share=share)
    running.on_accepted(4711, time.monotonic())
    running.terminate(SimpleNamespace(terminate_job=lambda *about: told.append(about)), "KILL")
    assert told == ended
    assert ("cancel its job instead" in caplog.text) == (not ended)


@pytest.mark.parametrize(
    ("reached", "event"),
    [
        (JobState.SUCCEEDED, ["task-succeeded"]),
        (JobState.RETRYING, ["task-retried"]),
        (JobState.CANCELLED, ["task-revoked"]),
        (JobState.DEAD, ["task-failed"]),
        (None, []),  # it came too late to count
    ],
)
def test_flower_is_told_what_the_job_came_to(reached, event):
    told = request()
    told.tell(Outcome(succeeded=reached == JobState.SUCCEEDED, seconds=0.5, result="x" * 999), reached)
    assert [type for type, _ in told.eventer.told] == event
    assert all(len(str(fields)) < 600 for _, fields in told.eventer.told)


def test_what_the_message_says_of_time_and_revocation_does_not_count():
    """Deadlines and cancellation are rows."""
    told = request()
    assert not told.revoked()
    assert told.request_dict["expires"] is None
    assert told.limits == (told.task.soft_time_limit, told.task.time_limit)
