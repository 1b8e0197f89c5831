"""The order in which events become visible, where transactions overlap."""

import threading

import pytest
from django.db import connection, transaction

from tasks import jobs
from tasks.following import follow_job, look_at_jobs
from tasks.models import JobEvent
from tasks.states import JobState
from tasks.transitions import change
from tests.unit.tasks.factories import make_job
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer at a time"),
]


def begun():
    job = make_job(JobState.RUNNING)
    JobEvent.objects.create(job=job, kind="running")
    return job


def in_thread(act) -> threading.Thread:
    def run() -> None:
        try:
            act()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def waiting_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")  # unlike pg_stat_activity, never a memory
        return bool(cursor.fetchone()[0])


def test_events_of_one_job_become_visible_in_the_order_of_their_ids():
    job = begun()
    with transaction.atomic():
        jobs.cancel(job.pk)
        second = in_thread(lambda: change(job.pk, source=JobState.RUNNING, target=JobState.DEAD))
        wait_for(waiting_for_a_lock, "the second writer to wait for the row, before it draws its number")
    second.join()
    assert list(job.events.order_by("id").values_list("kind", flat=True)) == ["running", "cancel_requested", "dead"]


def test_a_lower_id_of_another_job_that_becomes_visible_later_is_not_missed():
    early, late = begun(), begun()
    followers = [follow_job(job.pk) for job in (early, late)]
    for follower in followers:
        follower.take()
    drawn, may_commit = threading.Event(), threading.Event()

    def change_early() -> None:
        with transaction.atomic():
            change(early.pk, source=JobState.RUNNING, target=JobState.DEAD)
            drawn.set()
            may_commit.wait(10)

    writer = in_thread(change_early)
    assert drawn.wait(10)
    change(late.pk, source=JobState.RUNNING, target=JobState.DEAD)
    look_at_jobs(followers)
    assert [len(follower.take()) for follower in followers] == [0, 1]
    may_commit.set()
    writer.join()
    look_at_jobs(followers)
    [[told], nothing] = [follower.take() for follower in followers]
    assert (told.kind, nothing) == ("dead", [])
    assert told.position.event_id < followers[1].after
