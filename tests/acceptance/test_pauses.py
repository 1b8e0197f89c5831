"""Queues are paused and resumed under load: nothing begins, nothing is lost, nothing is done or sent twice."""

import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import transaction
from django.db.models.functions import Now

from tasks import publisher, queues
from tasks.api import enqueue
from tasks.models import Job, JobEvent, PausedQueue, WorkerProcess
from tests.acceptance.seeing import ended, lines
from tests.waiting import wait_for

WORK, MAIL = "work-queue", "priority-queue"
NOTICED_SECONDS = 3.0


@pytest.fixture(autouse=True)
def nothing_is_paused(committed):
    """Before the test and after it."""
    PausedQueue.objects.all().delete()
    yield
    PausedQueue.objects.all().delete()


def events(kind: str, jobs: list[Job]) -> int:
    return JobEvent.objects.filter(kind=kind, job__in=[job.pk for job in jobs]).count()


def begun_since(moment: datetime, queue: str) -> int:
    return JobEvent.objects.filter(kind="running", job__queue=queue, at__gt=moment).count()


def database_now() -> datetime:
    return PausedQueue.objects.values_list(Now(), flat=True).first()


def pause(queue: str = WORK) -> None:
    queues.pause(queue, requested_by="ada", reason="the provider is away")


def resume(queue: str = WORK) -> None:
    assert queues.resume(queue, requested_by="ada")


def put(number: int, seconds: float, trace: Path, *, priority: str = "normal") -> list[Job]:
    with transaction.atomic():
        payload = {"seconds": seconds, "trace": str(trace)}
        jobs = [enqueue("probe.nap", payload, priority=priority) for _ in range(number)]
    assert publisher.flush(30)
    return jobs


def ran(trace: Path, jobs: list[Job]) -> list[str]:
    """The jobs that have begun, each as often as it has."""
    ids = {str(job.pk) for job in jobs}
    begun = (line.split()[1].rpartition(".")[0] for line in lines(trace) if line.startswith("begin"))
    return sorted(id for id in begun if id in ids)


def lives(*workers) -> int:
    return WorkerProcess.objects.filter(name__in=[worker.row.name for worker in workers]).count()


def test_a_pause_under_load_stops_one_queue_and_nothing_else(start_worker, platform, tmp_path):
    trace = tmp_path / "trace"
    both = start_worker("-c", "2", IDLE_RESTART_SECONDS="4"), start_worker("-c", "2", IDLE_RESTART_SECONDS="4")
    work = put(400, 0.05, trace)
    mail = put(300, 0.05, trace, priority="high")
    wait_for(lambda: begun_since(work[0].created_at, WORK) > 20, "the load to run")

    pause()
    time.sleep(NOTICED_SECONDS)
    noticed_at = database_now()
    assert wait_for_quiet(work) == 0, "what ran has ended, and nothing else runs"
    assert {job.queue for job in mail} == {MAIL}
    assert ended(*mail) == ["succeeded"] * 300
    more = put(20, 0.01, trace)
    time.sleep(8)  # three times the relay's grace of 2 s and more than the watchdog's 4 s
    assert begun_since(noticed_at, WORK) == 0
    waiting = [*Job.objects.filter(queue=WORK, state="queued", pk__in=[job.pk for job in [*work, *more]])]
    assert len(waiting) >= 100, "too few were left to tell anything"
    assert queues.queue_depths((WORK,))[WORK] == len(waiting), "their messages are in the broker, all and once"
    assert set(Job.objects.filter(pk__in=[job.pk for job in waiting]).values_list("state", flat=True)) == {"queued"}
    assert [state.pause is not None for state in queues.states((WORK, MAIL))] == [True, False]

    resumed_at = time.monotonic()
    resume()
    wait_for(lambda: begun_since(noticed_at, WORK) > 0, "the queue to go on")
    assert time.monotonic() - resumed_at < NOTICED_SECONDS
    assert ended(*work, *more, timeout_seconds=90) == ["succeeded"] * 420
    assert ran(trace, [*work, *more, *mail]) == sorted(str(job.pk) for job in [*work, *more, *mail])
    assert events("republished", [*work, *more, *mail]) == 0
    assert events("duplicate", [*work, *more, *mail]) == 0
    assert events("retrying", [*work, *more, *mail]) == 0
    assert {job.attempt - job.attempt_base for job in [*work, *more]} == {1}, "an attempt was spent"
    assert lives(*both) == 2, "a worker was started anew"


def wait_for_quiet(jobs: list[Job]) -> int:
    """How many of ``jobs`` run, once none does or a second has passed."""
    running = Job.objects.filter(state="running", queue=WORK, pk__in=[job.pk for job in jobs])
    until = time.monotonic() + 1
    while running.exists() and time.monotonic() < until:
        time.sleep(0.05)
    return running.count()


def test_a_pause_outlives_the_death_of_every_worker(start_worker, platform, tmp_path):
    trace = tmp_path / "trace"
    first, second = start_worker("-c", "1"), start_worker("-c", "1")
    jobs = put(60, 0.2, trace)
    wait_for(lambda: len(ran(trace, jobs)) > 4, "the load to run")
    pause()
    first.kill()
    second.kill()
    fresh = start_worker("-c", "1"), start_worker("-c", "1")
    unsettled = Job.objects.filter(pk__in=[job.pk for job in jobs], state__in=["running", "retrying"])
    wait_for(lambda: not unsettled.exists(), "what the dead workers ran to be queued again", 30)
    begun = len(ran(trace, jobs))
    time.sleep(5)
    assert len(ran(trace, jobs)) == begun, "a fresh worker consumed a paused queue"
    assert [worker.process.poll() for worker in fresh] == [None, None]
    resume()
    assert ended(*jobs, timeout_seconds=90) == ["succeeded"] * 60
    twice = len(ran(trace, jobs)) - 60
    assert twice <= 2, "only what was running when its worker was killed may run again"


def test_a_worker_whose_only_queue_is_paused_stays_alive_and_healthy(start_worker, platform, tmp_path):
    pause()
    worker = start_worker("-c", "1", "-Q", WORK, IDLE_RESTART_SECONDS="2")
    jobs = put(5, 0, tmp_path / "trace")
    seen_at = worker.row.seen_at
    time.sleep(7)
    assert (worker.process.poll(), lives(worker), worker.row.stopped_at) == (None, 1, None)
    assert worker.row.seen_at > seen_at
    assert ran(tmp_path / "trace", jobs) == []
    resume()
    assert ended(*jobs) == ["succeeded"] * 5
    assert (events("republished", jobs), events("duplicate", jobs), lives(worker)) == (0, 0, 1)
    assert worker.stop() == 0


def test_prefetched_messages_are_handed_to_whoever_is_free_after_a_pause(start_worker, platform, tmp_path):
    """What waited behind long jobs of one worker is run by another."""
    trace = tmp_path / "trace"
    holder = start_worker("-c", "2", "--prefetch-multiplier", "2")
    long = put(2, 10, trace)
    wait_for(lambda: len(ran(trace, long)) == 2, "both slots to be taken")
    held = put(2, 0, trace)
    wait_for(lambda: queues.queue_depths((WORK,))[WORK] == 0, "the window to fill")
    pause()
    wait_for(lambda: queues.queue_depths((WORK,))[WORK] == 2, "the messages to go back", NOTICED_SECONDS)
    start_worker("-c", "1")
    resume()
    assert ended(*held) == ["succeeded"] * 2
    assert ended(*long) == ["succeeded"] * 2
    assert holder.process.poll() is None
    assert {job.attempt for job in held} == {1}


def test_the_end_of_a_pause_needs_nobody(start_worker, platform, tmp_path):
    pause()
    PausedQueue.objects.update(until=database_now() + timedelta(seconds=8))
    start_worker("-c", "1")
    jobs = put(3, 0, tmp_path / "trace")
    assert ended(*jobs) == ["succeeded"] * 3
    until = PausedQueue.objects.get().until
    assert all(job.started_at > until for job in jobs)
