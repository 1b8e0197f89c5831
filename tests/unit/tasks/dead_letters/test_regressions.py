import logging
import threading
from datetime import timedelta

import pytest
from django.core import mail
from django.db import connection
from django.utils import timezone

from tasks.context import JobContext
from tasks.dead_letters import groups, regressions
from tasks.dead_letters.groups import Status
from tasks.models import FailureGroup, Job, Release
from tasks.states import JobState
from tasks.tasks import MailAdminsPayload, mail_admins
from tasks.worker.supervision import register_worker
from tests.unit.tasks.factories import letter_of, make_group, make_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def group(settings, outbox) -> FailureGroup:
    """Marked fixed in 1.2, with a letter from before."""
    settings.ADMINS = [("Ops", "ops@example.org")]
    Release.objects.create(name="1.1")
    group = make_group(task="orders.mail", error_type="ValueError", message="order <number>", owner="bob")
    letter_of(group=group, release="1.2")
    return groups.fix(group.pk, release="1.2", requested_by="ann")


def status(group: FailureGroup) -> Status:
    return groups.status_of(FailureGroup.objects.get(pk=group.pk), timezone.now())


def test_a_failure_of_an_older_release_counts_and_stays_quiet(group):
    letter_of(group=group, release="1.1")
    letter_of(group=group, release="")
    letter_of(group=make_group(), release="1.2")
    assert regressions.reopen() == 0
    assert status(group) == Status.FIXED
    assert groups.summary(group.pk).total.number == 3
    assert group.pk not in [summary.group.pk for summary in groups.summaries()]


@pytest.mark.parametrize("release", ["1.2", "1.2.1", "2.0rc1"])
def test_one_of_the_release_or_later_reopens_the_group_and_alerts_once(
    group, release, caplog, django_capture_on_commit_callbacks
):
    Release.objects.bulk_create([Release(name=release)])
    letter_of(group=group, release=release)
    with caplog.at_level(logging.ERROR), django_capture_on_commit_callbacks(execute=True):
        assert [regressions.reopen(), regressions.reopen()] == [1, 0]
    assert status(group) == Status.REOPENED
    (job,) = Job.objects.filter(task="platform.mail_admins")
    assert job.payload["subject"] == "Failed again, though fixed in 1.2: orders.mail: ValueError"
    assert "Owner: bob" in job.payload["text"]
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert line.startswith(f"orders.mail: ValueError was marked fixed in release 1.2, and release {release} failed")
    letter_of(group=group, release=release)
    assert regressions.reopen() == 0


def test_commits_are_ordered_by_when_each_was_seen(group):
    for days, name in [(3, "aaa"), (2, "bbb"), (1, "ccc")]:
        Release.objects.create(name=name, first_seen_at=timezone.now() - timedelta(days=days))
    groups.fix(group.pk, release="bbb", requested_by="ann")
    letter_of(group=group, release="aaa")
    assert regressions.reopen() == 0
    letter_of(group=group, release="ccc")
    assert regressions.reopen() == 1


def test_a_fix_to_come_waits_for_its_release(group):
    groups.fix(group.pk, release="ddd", requested_by="ann")
    Release.objects.create(name="ccc")
    letter_of(group=group, release="ccc")
    assert regressions.reopen() == 0
    letter_of(group=group, release="ddd")
    assert regressions.reopen() == 1


def test_a_snooze_does_not_hide_that_a_fix_did_not_hold(group):
    groups.snooze(group.pk, until=timezone.now() + timedelta(days=9), requested_by="ann")
    letter_of(group=group, release="1.2")
    assert regressions.reopen() == 1
    assert [summary.group.pk for summary in groups.summaries()] == [group.pk]


def test_another_fix_of_the_same_group_alerts_anew(group):
    for _ in range(2):
        letter_of(group=group, release="1.2")
        assert regressions.reopen() == 1
        groups.fix(group.pk, release="1.2", requested_by="ann")
    assert Job.objects.filter(task="platform.mail_admins").count() == 2


def test_without_admins_nobody_is_mailed(group, settings):
    settings.ADMINS = []
    letter_of(group=group, release="1.2")
    assert regressions.reopen() == 1
    assert not Job.objects.filter(task="platform.mail_admins").exists()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer")
@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_reopens(group):
    letter_of(group=group, release="1.2")
    start, reopened = threading.Barrier(6), []

    def run() -> None:
        start.wait()
        reopened.append(regressions.reopen())
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(reopened) == [0, 0, 0, 0, 0, 1]
    assert Job.objects.filter(task="platform.mail_admins").count() == 1


def test_the_mail_is_sent_once_over_all_attempts_of_its_job(settings):
    settings.ADMINS = [("Ops", "ops@example.org")]
    job = make_job(JobState.RUNNING, task="platform.mail_admins")
    context = JobContext(job.pk, 1, task=job.task, metadata={}, requested_by="")
    for _ in range(2):
        mail_admins(MailAdminsPayload(subject="Two\nlines", text="x"), context)
    (sent,) = mail.outbox
    assert sent.to == ["ops@example.org"]
    assert "\n" not in sent.subject


def test_a_worker_tells_its_release(settings):
    settings.TASKS_RELEASE = "1.3"
    register_worker("a@host", [])
    first = Release.objects.get().first_seen_at
    register_worker("b@host", [])
    assert Release.objects.get().first_seen_at == first
