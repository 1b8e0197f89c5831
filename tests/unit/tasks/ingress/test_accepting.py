import json
from typing import Any

import pytest
from django.db import DataError, OperationalError

from tasks.ingress import accepting
from tasks.ingress.accepting import accept
from tasks.ingress.envelope import Arrival
from tasks.models import DeadLetter, Job
from tasks.states import JobState
from tests.unit.tasks.factories import kinds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]

EMAIL = {"to": ["ada@example.org"], "subject": "Hello", "text": "there"}
PERSON = {"to": {"email": ["ada@example.org"], "push": ["ada"]}, "title": "Hello", "text": "there"}


def arrival(type: str = "email", data: Any = None, *, place: str = "email-queue", **values: Any) -> Arrival:
    members = {name: values.pop(name) for name in ("id", "priority", "correlationId") if name in values}
    body = json.dumps({"type": type, "data": EMAIL if data is None else data, **members}).encode()
    return Arrival(**{"body": body, "source": "amqp", "place": place, **values})


def test_an_envelope_is_a_job():
    (accepted,) = accept([arrival(id="m-1", correlationId="c-1")])
    job = Job.objects.get(pk=accepted.job_id)
    assert (job.task, job.queue, job.state, job.payload["subject"]) == ("email.send", "email-queue", "queued", "Hello")
    assert (job.requested_by, job.correlation_id, job.idempotency_key) == ("amqp:email-queue", "c-1", "m-1")
    assert job.metadata == {"envelope": {"id": "m-1"}}


@pytest.mark.parametrize(
    ("type", "task"), [("probe.echo", "probe.echo"), ("sms", "sms.send"), ("report", "report.render")]
)
def test_a_type_is_a_short_name_or_a_tasks_own(type, task):
    data = {
        "probe.echo": {"text": "x"},
        "sms": {"to": ["+49 30 901820"], "text": "x"},
        "report": {"dataset": "job-activity"},
    }
    (accepted,) = accept([arrival(type, data[type], place="work-queue")])
    assert Job.objects.get(pk=accepted.job_id).task == task


def test_a_high_priority_takes_the_priority_queue():
    (accepted,) = accept([arrival(priority=9)])
    assert Job.objects.get(pk=accepted.job_id).queue == "priority-queue"


def test_a_message_that_comes_again_makes_no_second_job_and_is_seen():
    first, second, third = accept([arrival(id="m-1")]) + accept([arrival(id="m-1"), arrival(id="m-1")])
    assert first.job_id == second.job_id == third.job_id
    assert Job.objects.count() == 1
    assert kinds(Job.objects.get()) == ["queued", "duplicate", "duplicate"]


def test_messages_without_an_id_are_all_different():
    accept([arrival(), arrival()])
    assert Job.objects.count() == 2


def test_an_id_with_other_content_is_a_dead_letter():
    first, forged = accept([arrival(id="m-1"), arrival(id="m-1", data={**EMAIL, "subject": "Other"})])
    assert (first.problem, forged.job_id, Job.objects.count()) == (None, None, 1)
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.task) == ("id_conflict", "email.send")
    assert str(first.job_id) in letter.error


def test_an_id_is_its_queues_own():
    accept([arrival(id="m-1"), arrival("sms", {"to": ["+49 30 901820"], "text": "x"}, id="m-1", place="sms-queue")])
    assert Job.objects.count() == 2


@pytest.mark.parametrize(
    ("body", "reason", "said"),
    [
        (b"\x00\xff", "undecodable", "not JSON"),
        (b'{"data": {}}', "unknown_message", "type"),
        (b'{"type": "fax", "data": {}}', "unknown_task", "there are email, image, notification, push, report, sms"),
        (b'{"type": "platform.prune", "data": {}}', "unknown_task", "nothing here takes"),
        (b'{"type": "email", "data": {"to": ["nobody"]}}', "invalid_payload", "data.to.0"),
        (
            b'{"type": "email", "data": {"to": ["a@b.example"], "subject": "x", "text": "\\u0000"}}',
            "invalid_payload",
            "NUL",
        ),
        (b'{"type": "notification", "data": {"to": {}}}', "invalid_payload", "data.to"),
        (b'{"type": "image", "data": {"source": "../etc/passwd"}}', "invalid_payload", "data.source"),
        (b'{"type": "probe.echo", "data": {}, "correlationId": "\\ud800"}', "invalid_payload", "correlation"),
    ],
)
def test_what_is_wrong_is_a_dead_letter_with_its_bytes(body, reason, said):
    (wrong, right) = accept([Arrival(body=body, source="kafka", place="emails", key="kafka:emails:0:1"), arrival()])
    assert wrong.problem is not None
    assert right.job_id is not None, "it keeps none of the others from being accepted"
    letter = DeadLetter.objects.get()
    assert (letter.reason, bytes(letter.body or b""), letter.queue, letter.job) == (reason, body, "emails", None)
    assert said in letter.error


def test_a_wrong_message_that_comes_again_leaves_one_letter_until_that_is_dealt_with():
    wrong = Arrival(body=b"x", source="sqs", place="emails", key="sqs:1")
    accept([wrong])
    accept([wrong])
    assert DeadLetter.objects.count() == 1
    DeadLetter.objects.update(state=DeadLetter.State.REPLAYED)
    accept([wrong])
    assert DeadLetter.objects.filter(state=DeadLetter.State.OPEN).count() == 1


@pytest.mark.parametrize(("place", "task"), [("email-queue", "email.send"), ("push-queue", "push.send")])
def test_of_a_notification_each_queue_makes_its_own_job(place, task):
    (accepted,) = accept([arrival("notification", PERSON, id="n", place=place)])
    assert [job.task for job in Job.objects.filter(pk__in=accepted.job_ids)] == [task]


def test_a_channel_that_reaches_nobody_makes_no_job():
    (accepted,) = accept([arrival("notification", PERSON, place="sms-queue")])
    assert (accepted.job_ids, accepted.problem, Job.objects.count()) == ((), None, 0)


def test_where_there_is_no_fan_out_a_notification_makes_all_its_jobs_and_no_double():
    topic = {"source": "kafka", "place": "notifications", "id": "n"}
    first, again = accept([arrival("notification", PERSON, **topic)]) + accept(
        [arrival("notification", PERSON, **topic)]
    )
    assert sorted(Job.objects.values_list("task", flat=True)) == ["email.send", "push.send"]
    assert first.job_ids == again.job_ids


def test_with_the_database_away_nothing_is_kept(monkeypatch):
    def gone(*_: Any) -> None:
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(accepting, "store", gone)
    with pytest.raises(OperationalError):
        accept([arrival(), Arrival(body=b"x", source="amqp", place="email-queue")])
    assert not DeadLetter.objects.exists()


def test_what_the_database_can_not_take_leaves_the_others_alone(monkeypatch):
    real = accepting.store

    def store(new_jobs):
        if any(new.correlation_id == "bad" for new in new_jobs):
            raise DataError("out of range")
        return real(new_jobs)

    monkeypatch.setattr(accepting, "store", store)
    bad, good = accept([arrival(correlationId="bad"), arrival()])
    assert (bad.problem is not None, good.job_id is not None) == (True, True)
    assert "out of range" in DeadLetter.objects.get().error


def test_accepted_jobs_are_published_on_commit(outbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        (accepted,) = accept([arrival()])
    assert [message.job_id for message in outbox] == [accepted.job_id]
    assert Job.objects.get().state == JobState.QUEUED
