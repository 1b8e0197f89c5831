"""Every promise on every pool that the platform names."""

import threading

import pytest
from django.db import connection, transaction

from tasks.api import enqueue
from tasks.models import Job
from tests.acceptance.seeing import attempts, ended, lines
from tests.waiting import wait_for


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_jobs_end_as_they_should_on_each_pool(pool, start_worker, tmp_path):
    worker = start_worker("-P", pool, "-c", "3")
    trace = tmp_path / "trace"
    jobs = [enqueue("probe.echo", {"trace": str(trace)}) for _ in range(30)]
    flaky = enqueue("probe.fail", {"how": "exit", "failures": 1})
    dead = enqueue("probe.fail", {"how": "raise", "failures": 9})
    assert ended(*jobs, flaky, dead) == ["succeeded"] * 31 + ["dead"]
    assert len(lines(trace)) == 30
    assert (attempts(flaky), attempts(dead)) == (["RETRY", "SUCCESS"], ["RETRY", "RETRY", "FAILURE"])
    assert worker.stop() == 0


def test_a_row_that_somebody_holds_keeps_no_other_job_waiting(start_worker, tmp_path):
    start_worker("-c", "2")
    trace = tmp_path / "trace"
    held = enqueue("probe.nap", {"seconds": 1, "trace": str(trace)})
    wait_for(lambda: len(lines(trace)) == 1, "the job to begin")
    has_lock, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Job.objects.select_for_update().get(pk=held.pk)
            has_lock.set()
            may_go.wait(60)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert has_lock.wait(10)
    wait_for(lambda: len(lines(trace)) == 2, "the held job to finish")
    others = [enqueue("probe.echo") for _ in range(5)]
    assert ended(*others) == ["succeeded"] * 5
    held.refresh_from_db()
    assert held.state == "running", "its outcome can not be recorded yet"
    may_go.set()
    holder.join()
    assert ended(held) == ["succeeded"]
