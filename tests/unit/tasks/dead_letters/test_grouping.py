import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from tasks.dead_letters import grouping
from tasks.dead_letters.burial import bury
from tasks.dead_letters.grouping import adopt
from tasks.models import DeadLetter, FailureGroup
from tasks.states import JobState
from tests.unit.tasks.factories import letter_of, make_job


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "_known", set())


def die(error: str = "order 1 not found", **values) -> DeadLetter:
    job = make_job(JobState.RUNNING, **values)
    assert bury(job, JobState.RUNNING, reason="exhausted", error_type="LookupError", error=error)
    return DeadLetter.objects.get(job=job)


@pytest.mark.django_db
def test_a_letter_keeps_the_payload_it_died_with_its_release_and_its_group(settings):
    settings.TASKS_RELEASE = "1.4.2"
    letter = die(payload={"order": 1})
    letter.job.payload = {"order": 2}
    letter.job.save()
    letter.refresh_from_db()
    assert (letter.payload, letter.release) == ({"order": 1}, "1.4.2")
    assert letter.group.message == "order <number> not found"
    assert (letter.group.task, letter.group.error_type, letter.group.reason) == (
        "probe.echo",
        "LookupError",
        "exhausted",
    )
    assert letter.group.first_seen_at == letter.died_at


@pytest.mark.django_db
def test_failures_that_are_alike_share_a_group():
    assert die("order 1 not found").group == die("order 2 not found").group != die("no orders at all").group
    assert FailureGroup.objects.count() == 2


@pytest.mark.django_db
def test_a_group_does_not_tell_what_the_payload_hides():
    assert die("wrong: hunter-two", payload={"password": "hunter-two"}).group.message == "wrong: ••••••"


@pytest.mark.django_db(transaction=True)
def test_a_known_group_costs_no_statement(django_assert_num_queries):
    letter = die()
    with django_assert_num_queries(0):
        grouping.group_of(letter)


@pytest.mark.django_db(transaction=True)
def test_a_group_whose_founder_was_rolled_back_is_founded_again():
    with transaction.atomic():
        die()
        transaction.set_rollback(True)
    assert FailureGroup.objects.count() == 0
    assert die().group is not None


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer")
@pytest.mark.django_db(transaction=True)
def test_many_workers_found_one_group():
    jobs = [make_job(JobState.RUNNING) for _ in range(8)]
    start = threading.Barrier(len(jobs))

    def run(job) -> None:
        start.wait()
        bury(job, JobState.RUNNING, reason="exhausted", error="no")
        connection.close()

    threads = [threading.Thread(target=run, args=[job]) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert FailureGroup.objects.get().letters.count() == len(jobs)


@pytest.mark.django_db
def test_letters_of_an_older_build_get_their_payload_and_group():
    old = timezone.now() - timedelta(days=9)
    letter = letter_of(payload={"order": 1}, error="order 1", error_type="LookupError", died_at=old)
    message = letter_of(job_id=None, payload=None, error="garbage")
    DeadLetter.objects.filter(pk=letter.pk).update(payload=None)
    assert adopt() == 2
    letter.refresh_from_db()
    message.refresh_from_db()
    assert letter.payload == {"order": 1}
    assert message.payload is None
    assert letter.group.first_seen_at == old
    assert letter.group != message.group
    assert adopt() == 0


@pytest.mark.django_db
def test_adopting_goes_on_until_no_letter_is_left(monkeypatch):
    monkeypatch.setattr(grouping, "ADOPTED_AT_ONCE", 2)
    for number in range(3):
        letter_of(error=f"order {number}")
    assert [adopt(), adopt(), adopt()] == [2, 1, 0]
    assert FailureGroup.objects.get().letters.count() == 3
