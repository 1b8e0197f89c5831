"""What the database tells: itself, accounts, workers, jobs."""

from collections import namedtuple
from datetime import timedelta
from types import SimpleNamespace

import pytest
from celery import current_app
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.utils import timezone

from tasks import queues
from tasks.doctor import accounts, database, job_events, jobs, storage, workers
from tasks.models import JobEvent, JobEventCursor, PausedQueue
from tasks.states import JobState
from tests.unit.tasks.doctor.said import findings, unknowns
from tests.unit.tasks.factories import make_job, make_worker
from tests.waiting import closed_port

pytestmark = pytest.mark.django_db
# SQLite has neither a clock of its own nor these settings. `make test` brings PostgreSQL and skips nothing.
postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'")
Usage = namedtuple("Usage", "free")


def ago(**delta):
    return timezone.now() - timedelta(**delta)


def test_a_database_that_answers_is_ok():
    assert findings(database.database()) == []


def test_a_database_that_is_away_is_found(monkeypatch):
    def away():
        raise OperationalError('connection to "postgres://me:hunter2@db/x" failed\nIs it running?')

    monkeypatch.setattr(connection, "ensure_connection", away)
    monkeypatch.setattr(connection, "close", lambda: None)
    (what,) = findings(database.database())
    assert "hunter2" not in what
    assert "\n" not in what


def test_unapplied_migrations_are_found():
    assert findings(database.migrations()) == []
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'reports' AND name = '0002_owner'")
    (what,) = findings(database.migrations())
    assert what == "1 migrations are not applied: reports.0002_owner"


@postgresql
@pytest.mark.parametrize(("seconds", "words"), [(0, None), (1, None), (60, "0:01:00 ahead"), (-90, "0:01:30 behind")])
def test_a_clock_that_differs_from_the_databases_is_found(seconds, words):
    said = findings(database.clock(now=lambda: timezone.now() + timedelta(seconds=seconds)))
    assert len(said) == (words is not None)
    assert all(words in what for what in said)


@postgresql
def test_a_slow_answer_is_no_skew():
    times = iter([timezone.now() - timedelta(seconds=20), timezone.now()])
    assert findings(database.clock(now=lambda: next(times))) == []


@postgresql
def test_a_database_that_answers_before_it_wrote_is_found():
    assert findings(database.durability()) == []
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
    assert findings(database.durability()) == [
        "synchronous_commit is off: a crash of the database's host loses jobs that were accepted"
    ]


@pytest.mark.parametrize(
    ("name", "password", "found"),
    [("ada", "admin", 1), ("ada", "ada", 1), ("ada", "correct horse battery", 0)],
)
def test_staff_with_a_password_that_everybody_tries_is_found(fast_hashes, name, password, found):
    user = User.objects.create(username=name, password=make_password(password), is_staff=True)
    said = findings(accounts.staff_passwords())
    assert said == [f"the account {name} has a password that everybody tries first"] * found
    assert User.objects.get().password == user.password, "nothing is written"


@pytest.mark.parametrize("rights", [{}, {"is_staff": True, "is_active": False}])
def test_an_account_that_can_not_enter_the_admin_is_nobodys_business(fast_hashes, rights):
    User.objects.create(username="ada", password=make_password("admin"), **rights)
    assert findings(accounts.staff_passwords()) == []


def test_accounts_past_the_first_few_are_told_as_unknown(fast_hashes):
    for number in range(accounts.MOST_ACCOUNTS + 2):
        User.objects.create(username=f"u{number}", password=make_password("long and safe"), is_staff=True)
    (what,) = unknowns(accounts.staff_passwords())
    assert what.startswith("2 of 6 staff accounts")


@pytest.fixture
def fast_hashes(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.mark.parametrize(("free_gib", "found"), [(50, 0), (0.5, 1)])
def test_a_disk_that_is_nearly_full_is_found(settings, tmp_path, free_gib, found):
    settings.MEDIA_ROOT = tmp_path / "not" / "there" / "yet"
    assert len(findings(storage.uploads(disk_usage=lambda path: Usage(free_gib * 2**30)))) == found


def test_a_folder_that_can_not_be_written_is_found(settings, tmp_path, monkeypatch):
    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(storage.os, "access", lambda *_: False)
    (what,) = findings(storage.uploads(disk_usage=lambda path: Usage(2**40)))
    assert "can not be written" in what


def test_files_kept_elsewhere_are_not_this_disks_business(settings):
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": "storages.backends.s3.S3Storage"}}
    assert findings(storage.uploads(disk_usage=lambda path: Usage(0))) == []


def test_a_redis_that_is_away_is_found(settings):
    cache = {"BACKEND": "django.core.cache.backends.redis.RedisCache"}
    settings.CACHES = {"default": {**cache, "LOCATION": f"redis://:hunter2@127.0.0.1:{closed_port()}/0"}}
    (what,) = findings(storage.cache())
    assert "Redis does not answer" in what
    assert "hunter2" not in what
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert findings(storage.cache()) == []


@pytest.mark.parametrize(
    ("row", "alive", "silent"),
    [
        ({}, True, False),
        ({"seen_at": ago(minutes=5)}, False, True),
        ({"seen_at": ago(minutes=5), "stopped_at": ago(minutes=5)}, False, False),
        ({"seen_at": ago(days=2)}, False, False),
    ],
)
def test_who_lives_and_who_fell_silent(row, alive, silent):
    make_worker(**row)
    assert (findings(workers.alive()) == []) is alive
    assert (findings(workers.silent()) != []) is silent


def test_no_worker_at_all_is_found():
    assert len(findings(workers.alive())) == 1


def test_a_silent_worker_whose_name_was_taken_up_is_not_missed():
    make_worker(started_at=ago(hours=1), seen_at=ago(minutes=30))
    make_worker()
    assert findings(workers.silent()) == []


@pytest.mark.parametrize(("seconds", "found"), [(0, 0), (2, 0), (30, 1), (-30, 1)])
def test_a_worker_on_a_host_with_another_time_is_found(seconds, found):
    now = timezone.now()
    make_worker(seen_at=now, clock_at=now + timedelta(seconds=seconds))
    assert len(findings(workers.clocks())) == found


@pytest.mark.parametrize(
    ("pool", "queues", "found"),
    [
        ("prefork", ["work-queue"], 0),
        ("thread", ["work-queue"], 1),
        ("solo", ["report-queue"], 1),
        ("thread", ["request-queue"], 0),  # no task comes there
        ("", ["work-queue"], 0),  # a worker of an older build, which does not tell
    ],
)
def test_a_pool_that_can_not_end_a_task_is_found(pool, queues, found):
    make_worker(pool=pool, queues=queues)
    assert len(findings(workers.pools())) == found


def test_many_queues_may_outlast_the_ack_timeout_together(settings, monkeypatch):
    make_worker(queues=["email-queue", "report-queue"])  # 60 + 600 + 60 s
    settings.TASKS_BROKER_ACK_TIMEOUT_SECONDS = 720
    assert findings(workers.held_messages()) == []
    settings.TASKS_BROKER_ACK_TIMEOUT_SECONDS = 719
    assert len(findings(workers.held_messages())) == 1
    settings.TASKS_BROKER_ACK_TIMEOUT_SECONDS = 720
    monkeypatch.setitem(current_app.conf.changes, "worker_prefetch_multiplier", 2)
    assert len(findings(workers.held_messages())) == 1


def test_one_queue_is_the_ack_timeouts_own_business(settings):
    make_worker(queues=["report-queue"])
    settings.TASKS_BROKER_ACK_TIMEOUT_SECONDS = 10
    assert findings(workers.held_messages()) == []


@pytest.mark.parametrize(("seconds", "found"), [(20, 0), (5, 1)])
def test_a_silence_that_a_reconnect_takes_is_no_death(settings, seconds, found):
    settings.TASKS_WORKER_STALE_SECONDS = seconds
    assert len(findings(workers.staleness())) == found


def test_sqlite_with_workers_on_two_hosts_is_found(monkeypatch):
    make_worker(host="one")
    make_worker(host="two")
    monkeypatch.setattr(workers, "connection", SimpleNamespace(vendor="sqlite"))
    assert findings(workers.one_host_for_sqlite()) == ["workers on one, two share one SQLite file"]
    monkeypatch.setattr(workers, "connection", SimpleNamespace(vendor="postgresql"))
    assert findings(workers.one_host_for_sqlite()) == []


def test_jobs_that_wait_for_longer_than_the_relay_takes_are_found(settings):
    settings.TASKS_RELAY_GRACE_SECONDS = 15
    make_job(queued_at=ago(seconds=25))
    make_job(JobState.SUCCEEDED, queued_at=ago(hours=1), finished_at=ago(hours=1))
    assert findings(jobs.waiting()) == []
    make_job(queued_at=ago(seconds=65))
    (what,) = findings(jobs.waiting())
    assert what.startswith("1 jobs of work-queue wait, the oldest for 0:01:0")
    make_job(JobState.RUNNING, queue="email-queue")
    assert len(findings(jobs.waiting())) == 1


def test_a_paused_queue_stands_still_for_a_reason_and_so_does_one_that_was_resumed_just_now(settings):
    settings.TASKS_RELAY_GRACE_SECONDS = 15
    make_job(queued_at=ago(hours=1))
    queues.pause("work-queue", requested_by="ada")
    assert findings(jobs.waiting()) == []
    queues.resume("work-queue", requested_by="ada")
    assert findings(jobs.waiting()) == []
    PausedQueue.objects.update(until=ago(seconds=31))
    assert len(findings(jobs.waiting())) == 1


@pytest.mark.parametrize(
    ("hours", "waits", "until", "found"),
    [(25, True, None, 1), (23, True, None, 0), (25, False, None, 0), (25, True, ago(hours=-1), 0)],
    ids=["forgotten", "young", "nothing waits", "with an end"],
)
def test_a_pause_that_somebody_forgot_is_found(hours, waits, until, found):
    PausedQueue.objects.create(queue="work-queue", since=ago(hours=hours), until=until, paused_by="ada")
    make_job(queue="work-queue" if waits else "sms-queue")
    said = findings(jobs.forgotten_pauses())
    assert len(said) == found
    assert all("by ada" in what for what in said)


@pytest.mark.parametrize("values", [{"state": JobState.RUNNING}, {"state": JobState.RETRYING}])
def test_a_long_queue_that_moves_is_no_finding(settings, values):
    settings.TASKS_RELAY_GRACE_SECONDS = 15
    make_job(queued_at=ago(hours=1))
    make_job(**values, started_at=ago(seconds=1))
    assert findings(jobs.waiting()) == []


@pytest.mark.parametrize("state", [JobState.SCHEDULED, JobState.RETRYING])
def test_jobs_that_are_due_and_not_queued_are_found(settings, state):
    settings.TASKS_RELAY_GRACE_SECONDS = 15
    make_job(state, due_at=ago(seconds=5))
    assert findings(jobs.overdue()) == []
    make_job(state, due_at=ago(seconds=20), queue="email-queue")
    assert len(findings(jobs.overdue())) == 1


def test_job_events_that_nobody_is_told_are_found(settings):
    settings.TASKS_JOB_EVENTS = ["exchange"]
    JobEventCursor.objects.create(sink="exchange", read_to=0)
    assert findings(job_events.late()) == []
    JobEvent.objects.create(job=make_job(), kind="queued", at=ago(minutes=2))
    (what,) = findings(job_events.late())
    assert what.startswith("1 job events have not been told to exchange")
