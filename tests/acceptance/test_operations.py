"""Bulk operations on running workers: what is broken is tried on one, and no death of a worker sends one twice."""

from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from tasks import publisher
from tasks.api import enqueue
from tasks.dead_letters import operations
from tasks.models import DeadLetter, Job, JobEvent, Operation
from tests.acceptance.seeing import ended, lines
from tests.waiting import wait_for

BUILD = "of-this-file"  # by which its letters are told from those of others


def make_letters(number: int, task: str, **payload: Any) -> list[Job]:
    """Dead jobs, each with its letter, oldest first."""
    DeadLetter.objects.filter(release=BUILD).delete()
    now = timezone.now()
    jobs = Job.objects.bulk_create(
        Job(task=task, queue="work-queue", payload=payload, state="dead", attempt=1, finished_at=now)
        for _ in range(number)
    )
    DeadLetter.objects.bulk_create(
        DeadLetter(job=job, attempt=1, reason="exhausted", task=task, queue=job.queue, release=BUILD) for job in jobs
    )
    return jobs


def finished(operation: Operation, timeout_seconds: float = 60) -> Operation:
    """The operation, once its last outcome is known."""
    found = Operation.objects.filter(pk=operation.pk, finished_at__isnull=False)
    wait_for(found.exists, f"operation {operation.pk} to end", timeout_seconds)
    return found.get()


def test_of_500_letters_of_a_task_that_is_still_broken_one_is_sent(start_worker):
    start_worker("-c", "2")
    jobs = make_letters(500, "probe.fail", how="permanent", failures=99)
    letters = DeadLetter.objects.filter(job__in=[job.pk for job in jobs[1:]]).order_by("id")
    wait_for(lambda: not letters.filter(group=None).exists(), "their groups, as of an older build")
    before = [list(letters.values()), list(Job.objects.filter(pk__in=[job.pk for job in jobs[1:]]).values())]
    operation = finished(operations.start("replay", {"release": BUILD}, requested_by="ada"))
    assert (operation.state, operation.verdict) == ("stopped", "stopped at step 1, 1/1 failed")
    assert [letter.state for letter in jobs[0].dead_letters.order_by("id")] == ["replayed", "open"]
    assert [list(letters.values()), list(Job.objects.filter(pk__in=[job.pk for job in jobs[1:]]).values())] == before
    replayed = JobEvent.objects.filter(job__in=[job.pk for job in jobs], kind="replayed")
    assert list(replayed.values_list("job", flat=True)) == [jobs[0].pk]


def test_workers_killed_in_the_middle_of_an_operation_send_nothing_twice_and_leave_nothing_out(start_worker, tmp_path):
    jobs = make_letters(300, "probe.echo", trace=str(tmp_path / "trace"))
    first, second = start_worker("-c", "1"), start_worker("-c", "1")
    operation = operations.start("replay", {"release": BUILD}, requested_by="ada", rate_per_second=60)
    for doomed, number in ((first, 60), (second, 150)):
        wait_for(lambda number=number: sent(jobs) >= number, f"{number} letters to be sent")
        doomed.kill()
        assert sent(jobs) < 300, "it was over before the worker died"
        start_worker("-c", "1")
    operation = finished(operation, timeout_seconds=90)
    assert (operation.state, operation.done, operation.failed, operation.skipped) == ("done", 300, 0, {})
    assert sorted(JobEvent.objects.filter(kind="replayed", job__in=[job.pk for job in jobs]).values_list("job")) == [
        (job.pk,) for job in jobs
    ]
    assert set(ended(*jobs)) == {"succeeded"}


def sent(jobs: list[Job]) -> int:
    return JobEvent.objects.filter(kind="replayed", job__in=[job.pk for job in jobs]).count()


def test_of_1000_purged_and_restored_messages_the_same_jobs_run_in_the_same_order(start_worker, tmp_path):
    trace = tmp_path / "trace"
    with transaction.atomic():
        jobs = [enqueue("probe.echo", {"trace": str(trace)}) for _ in range(1000)]
    assert publisher.flush(30)
    purged = operations.start("purge", {"queue": "work-queue"}, requested_by="ada", reason="a bad deploy")
    purged = finished(purged)
    assert (purged.done, set(ended(*jobs))) == (1000, {"cancelled"})
    restored = operations.start("unpurge", {"operation": str(purged.pk)}, requested_by="ada")
    assert finished(restored).done == 1000
    assert publisher.flush(30)

    start_worker("-c", "1")
    assert set(ended(*jobs, timeout_seconds=90)) == {"succeeded"}
    assert ran(trace) == [f"{job.pk}.2" for job in jobs]
    old = JobEvent.objects.filter(kind="duplicate", attempt=1, job__in=[job.pk for job in jobs])
    assert old.count() == 1000, "messages from before the purge were not dropped"


def ran(trace: Path) -> list[str]:
    """The attempts, in the order in which they ran."""
    return [line.split()[1] for line in lines(trace)]
