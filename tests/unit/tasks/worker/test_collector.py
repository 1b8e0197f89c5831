import uuid
from datetime import datetime, timedelta

import pytest
from django.db import IntegrityError
from django.utils import timezone

from tasks.brokers import DeadMessage
from tasks.dead_letters.burial import bury
from tasks.evidence import jsonable
from tasks.jobs import replay
from tasks.models import DeadLetter, Job
from tasks.states import JobState
from tasks.worker import collector as room
from tasks.worker.claiming import Answer, claim
from tasks.worker.collector import collect
from tasks.worker.envelope import Envelope
from tests.unit.tasks.factories import kinds, make_job, make_worker

pytestmark = pytest.mark.django_db


def dead_message(job_id=None, **values) -> DeadMessage:
    defaults = {
        "dead_queue": "work-queue.dead",
        "queue": "work-queue",
        "body": b"[[], {}, {}]",
        "exchange": "work-exchange",
        "routing_key": "work",
        "content_type": "application/json",
        "headers": {"task": "probe.echo", "id": f"{job_id or uuid.uuid4()}.1"},
        "deaths": [{"queue": "work-queue", "reason": "rejected", "count": 1, "time": datetime(2026, 1, 1)}],
    }
    return DeadMessage(**{**defaults, **values})


def test_a_dead_jobs_letter_gets_the_brokers_evidence():
    job = make_job(JobState.RUNNING)
    bury(job, JobState.RUNNING, reason="exhausted", error="no")
    collect(dead_message(job.pk))
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.exchange, bytes(letter.body)) == ("exhausted", "work-exchange", b"[[], {}, {}]")
    assert letter.properties["deaths"][0]["time"] == "2026-01-01T00:00:00"


def test_a_message_collected_twice_leaves_one_letter():
    message = dead_message(body=b"garbage")
    collect(message)
    collect(message)
    assert DeadLetter.objects.count() == 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"body": b"\xff\x00"}, "undecodable"),
        ({"content_type": "text/plain"}, "undecodable"),
        ({"headers": {}}, "unknown_message"),
        ({"headers": {"task": "nope.nope", "id": f"{uuid.uuid4()}.1"}}, "unknown_task"),
        ({}, "unknown_message"),
        ({"headers": {}, "queue": "", "dead_queue": "unrouted-queue", "deaths": []}, "unrouted"),
    ],
)
def test_what_never_reached_a_task_gets_a_letter_of_its_own(values, reason):
    collect(dead_message(**values))
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.job) == (reason, None)
    assert letter.error


def test_an_unknown_task_ends_its_job():
    job = make_job(task="nope.nope")
    collect(dead_message(headers={"task": "nope.nope", "id": f"{job.pk}.1"}))
    job.refresh_from_db()
    assert (job.state, DeadLetter.objects.get().job_id) == (JobState.DEAD, job.pk)


def given_up(job: Job, time: int) -> DeadMessage:
    """Delivered too often, and given up by the broker for the ``time``-th time."""
    death = {"queue": "work-queue", "reason": "delivery_limit", "count": 1, "time": datetime(2026, 1, time + 1)}
    return dead_message(job.pk, deaths=[death])


def test_a_message_that_was_only_held_too_often_is_published_again(outbox, django_capture_on_commit_callbacks):
    """Each lost connection is a delivery of what a busy worker held and had not begun: no fault of the job."""
    job = make_job()
    with django_capture_on_commit_callbacks(execute=True):
        collect(given_up(job, 0))
    job.refresh_from_db()
    assert (job.state, job.attempt, kinds(job)) == (JobState.QUEUED, 0, ["republished"])
    assert [(message.job_id, message.attempt) for message in outbox] == [(job.pk, 1)]


def test_a_message_the_broker_gives_up_again_and_again_ends_its_job(outbox, settings):
    settings.TASKS_POISON_LIMIT = 2
    job = make_job()
    for time in range(3):
        collect(given_up(job, time))
    job.refresh_from_db()
    letter = DeadLetter.objects.get()
    assert (job.state, letter.reason) == (JobState.DEAD, "delivery_limit")
    assert "delivery_limit by work-queue" in letter.error


@pytest.mark.parametrize(
    ("state", "values"),
    [(JobState.RUNNING, {}), (JobState.QUEUED, {"attempt": 4}), (JobState.SUCCEEDED, {})],
)
def test_a_message_the_broker_gave_up_of_a_job_that_moved_on_is_told_in_its_history(state, values):
    job = make_job(state, **values)
    collect(dead_message(job.pk))
    job.refresh_from_db()
    assert (job.state, DeadLetter.objects.count(), kinds(job)) == (state, 0, ["duplicate"])


def test_a_replayed_job_whose_message_is_given_up_is_dead_again(outbox):
    job = make_job(JobState.RUNNING)
    bury(job, JobState.RUNNING, reason="exhausted")
    replay(job.pk)
    collect(dead_message(headers={"task": "probe.echo", "id": f"{job.pk}.2"}))
    job.refresh_from_db()
    assert (job.state, DeadLetter.objects.get(state="open").reason) == (JobState.DEAD, "delivery_limit")


@pytest.mark.parametrize("copies", [1, 2])
def test_a_message_rejected_before_a_replay_does_not_end_the_job_again(outbox, copies):
    job = make_job(expires_at=timezone.now() - timedelta(seconds=1))
    assert claim([Envelope(job.pk, 1, job.task)], make_worker())[0].answer is Answer.REJECT
    replay(job.pk)
    for second in range(copies):
        death = {"queue": "work-queue", "reason": "rejected", "count": 1, "time": datetime(2026, 1, 1, 0, 0, second)}
        collect(dead_message(job.pk, deaths=[death]))
    job.refresh_from_db()
    assert job.state == JobState.QUEUED


def test_a_second_death_does_not_overwrite_the_first(outbox, settings):
    settings.TASKS_POISON_LIMIT = 0
    job = make_job(expires_at=timezone.now() - timedelta(seconds=1))
    claim([Envelope(job.pk, 1, job.task)], make_worker())
    replay(job.pk, requested_by="ann")
    collect(dead_message(headers={"task": "probe.echo", "id": f"{job.pk}.2"}))
    letters = DeadLetter.objects.order_by("attempt").values_list("attempt", "reason", "state", "replayed_by")
    assert list(letters) == [(1, "expired", "replayed", "ann"), (2, "delivery_limit", "open", "")]


def test_a_key_that_no_database_keeps_is_kept_readable():
    collect(dead_message(body=b"x", routing_key="a\0b", exchange="\ud800"))
    letter = DeadLetter.objects.get()
    assert (letter.routing_key, letter.exchange) == ("a\\0b", "\\ud800")


def test_of_two_collectors_at_the_same_moment_one_keeps_the_letter(monkeypatch):
    message = dead_message(body=b"garbage")

    def other_is_first(*_):
        collect_for_real(message)
        raise IntegrityError("dead_letter_evidence")

    collect_for_real = room._collect
    monkeypatch.setattr(room, "_collect", other_is_first)
    collect(message)
    assert DeadLetter.objects.count() == 1


def test_a_message_that_can_not_be_examined_is_kept_with_its_bytes(monkeypatch):
    monkeypatch.setattr(room, "read_envelope", lambda *_: 1 / 0)
    collect(dead_message(body=b"odd"))
    letter = DeadLetter.objects.get()
    assert (bytes(letter.body), "ZeroDivisionError" in letter.error) == (b"odd", True)


def test_a_message_that_names_another_task_than_its_job_does_not_end_it():
    job = make_job(task="probe.fail")
    collect(dead_message(job.pk))
    job.refresh_from_db()
    assert (job.state, DeadLetter.objects.get().reason) == (JobState.QUEUED, "unknown_message")


def test_garbage_that_names_a_good_job_does_not_end_it():
    job = make_job()
    collect(dead_message(job.pk, body=b"garbage"))
    job.refresh_from_db()
    assert job.state == JobState.QUEUED


def test_a_jobs_misaddressed_message_is_left_to_the_relay():
    job = make_job()
    collect(dead_message(job.pk, queue="", dead_queue="unrouted-queue", deaths=[]))
    job.refresh_from_db()
    assert (job.state, DeadLetter.objects.count()) == (JobState.QUEUED, 0)


def test_headers_of_any_kind_are_kept():
    nan = float("nan")
    collect(
        dead_message(body=b"x", headers={"b": b"\xff", "n": nan, "z": "a\0b", "t": datetime(2026, 1, 1), "l": [(1,)]})
    )
    assert DeadLetter.objects.get().headers == {
        "b": "/w==", "n": "nan", "z": "a\\0b", "t": "2026-01-01T00:00:00", "l": [[1]],
    }  # fmt: skip
    assert jsonable({1: None}) == {"1": None}
