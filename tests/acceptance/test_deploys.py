"""Workers are stopped, renewed, resized and restarted while they run: interrupted is not failed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from project.celery import app
from tasks.api import cancel, enqueue
from tasks.compatibility import examine
from tasks.models import Job, WorkerProcess
from tasks.registry import registry
from tests.acceptance.conftest import ROOT
from tests.acceptance.seeing import attempts, ended, lines
from tests.waiting import wait_for


def begun(trace) -> None:
    wait_for(lambda: any(line.startswith("begin") for line in lines(trace)), "the attempt to begin")


@pytest.mark.parametrize(
    ("grace_seconds", "signals"),
    [("1", [signal.SIGTERM]), ("600", [signal.SIGTERM, signal.SIGTERM]), ("600", [signal.SIGQUIT])],
    ids=["the budget is over", "asked twice", "SIGQUIT"],
)
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_a_stopping_worker_interrupts_is_handed_back_unspent(start_worker, tmp_path, pool, grace_seconds, signals):
    trace = tmp_path / "trace"
    worker = start_worker("-c", "1", "--pool", pool, SHUTDOWN_GRACE_SECONDS=grace_seconds)
    job = enqueue("probe.nap", {"seconds": 90, "trace": str(trace)})
    begun(trace)
    for number in signals:
        worker.process.send_signal(number)
        wait_for(lambda: b"attempts may run" in worker.log.read_bytes() or worker.process.poll() == 0, "the answer")
    assert worker.process.wait(timeout=30) == 0
    job.refresh_from_db()
    assert (job.state, job.attempt, job.attempt_base, attempts(job)) == ("queued", 1, 1, [])
    assert worker.row.stopped_at is not None
    assert f"handed back: job {job.pk}.1 probe.nap, after " in worker.log.read_text()
    type(job).objects.filter(pk=job.pk).update(payload={"seconds": 0, "trace": str(trace)})
    start_worker("-c", "1")
    assert ended(job) == ["succeeded"]
    assert attempts(job) == ["SUCCESS"]


def test_a_stop_that_reaches_every_process_spends_no_attempt(start_worker, tmp_path):
    """As systemd does by default, and a supervisor that stops a process group."""
    trace = tmp_path / "trace"
    worker = start_worker("-c", "2")
    short, long = (enqueue("probe.nap", {"seconds": seconds, "trace": str(trace)}) for seconds in (2, 90))
    wait_for(lambda: len(lines(trace)) == 2, "both attempts to begin")
    children = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children").read_text().split()
    for process_id in (worker.process.pid, *map(int, children)):
        os.kill(process_id, signal.SIGTERM)
    assert ended(short) == ["succeeded"]
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(timeout=30) == 0
    long.refresh_from_db()
    assert (attempts(short), long.state, attempts(long)) == (["SUCCESS"], "queued", [])
    type(long).objects.filter(pk=long.pk).update(payload={"seconds": 0})
    start_worker("-c", "1")
    assert ended(long) == ["succeeded"]


def test_what_an_interrupted_job_has_started_ends_with_it(start_worker, tmp_path):
    trace = tmp_path / "trace"
    worker = start_worker("-c", "1", SHUTDOWN_GRACE_SECONDS="0.5")
    job = enqueue("probe.offspring", {"trace": str(trace)})
    wait_for(lambda: len(lines(trace)) > 2, "the grandchild to write")
    assert worker.stop() == 0
    written = len(lines(trace))
    time.sleep(0.5)
    assert len(lines(trace)) == written
    cancel(job.pk)


def test_a_pool_of_one_stops_as_well(start_worker, tmp_path):
    trace = tmp_path / "trace"
    worker = start_worker("--pool", "solo", SHUTDOWN_GRACE_SECONDS="0.5")
    job = enqueue("probe.nap", {"seconds": 90, "trace": str(trace)})
    begun(trace)
    worker.process.terminate()
    assert worker.process.wait(timeout=30) == 0
    job.refresh_from_db()
    assert (job.state, worker.row.stopped_at is not None) == ("queued", True)
    cancel(job.pk)


def test_no_message_is_claimed_once_a_worker_is_stopping(start_worker, tmp_path):
    trace = tmp_path / "trace"
    worker = start_worker("-c", "2")
    running = enqueue("probe.nap", {"seconds": 3, "trace": str(trace)})
    begun(trace)
    worker.process.terminate()
    wait_for(lambda: b"attempts may run" in worker.log.read_bytes(), "the stop to begin")
    later = enqueue("probe.echo")
    assert worker.process.wait(timeout=30) == 0
    running.refresh_from_db()
    later.refresh_from_db()
    assert (running.state, later.state, later.attempt) == ("succeeded", "queued", 0)
    start_worker("-c", "1")
    assert ended(later) == ["succeeded"]


@pytest.mark.parametrize(
    "options",
    [
        ("-c", "2", "--max-tasks-per-child", "1"),
        ("-c", "2", "--max-memory-per-child", "1"),  # KiB: every job is one too many
        ("--autoscale", "3,1"),
    ],
    ids=["one job a child", "one KiB a child", "autoscale"],
)
def test_a_pool_that_renews_or_resizes_itself_loses_nothing(start_worker, tmp_path, options):
    trace = tmp_path / "trace"
    start_worker(*options)
    jobs = [enqueue("probe.echo", {"trace": str(trace)}) for _ in range(30)]
    assert ended(*jobs) == ["succeeded"] * 30
    assert [attempts(job) for job in jobs] == [["SUCCESS"]] * 30
    assert len(lines(trace)) == 30


def test_a_worker_that_looks_alive_and_consumes_nothing_starts_itself_anew(start_worker, platform):
    worker = start_worker("-c", "1", IDLE_RESTART_SECONDS="3")
    first_life = worker.row
    app.conf.broker_url = platform["BROKER_URL"]
    app.control.broadcast("deafen", destination=[first_life.name], connection=app.connection(platform["BROKER_URL"]))
    # What was on its way when the worker went deaf may still arrive: only then is it deaf.
    jobs = [enqueue("probe.echo") for _ in range(3)]
    assert ended(*jobs) == ["succeeded"] * 3
    wait_for(lambda: WorkerProcess.objects.filter(name=first_life.name).count() == 2, "its second life")
    lives = list(WorkerProcess.objects.filter(name=first_life.name).order_by("started_at"))
    assert [life.pid for life in lives] == [os.getpgid(worker.process.pid)] * 2
    assert (lives[0].stopped_at is None, lives[1].stopped_at is None) == (False, True)
    assert "starting anew" in worker.log.read_text()


def test_a_renamed_task_stops_the_deploy_until_its_alias_lets_the_three_that_wait_run(start_worker, platform):
    jobs = [enqueue("probe.renamed", delay_seconds=1) for _ in range(3)]
    Job.objects.filter(pk__in=[job.pk for job in jobs]).update(task="probe.old_name")
    with pytest.MonkeyPatch.context() as build:
        build.delitem(registry._specs, "probe.old_name")
        (finding,) = examine().findings
    assert (finding.what, finding.count) == ("this build has no such task", 3)
    assert [item.job for item in finding.first] == [job.pk for job in jobs]
    gate = [sys.executable, "manage.py", "topology", "compatible"]
    done = subprocess.run(gate, env=platform, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.startswith("This build can run all that is outstanding")) == (0, True)
    start_worker("-c", "1")
    assert ended(*jobs) == ["succeeded"] * 3
    assert [job.result for job in jobs] == ["probe.renamed"] * 3
