"""/emails and /notifications: the same acceptance as POST /jobs, in words of their own."""

import pytest

from tasks.models import Batch, Job

pytestmark = pytest.mark.django_db

MAIL = {"to": ["ann@example.com"], "subject": "Hi", "text": "It works."}
NOTE = {
    "to": {"email": ["ann@example.com"], "sms": ["+49 30 901820"], "push": ["phone-1"]},
    "title": "Your report",
    "text": "It is ready.",
}


def test_an_email_is_a_job_of_the_same_payload(caller):
    response = caller().post("/api/v1/emails", {**MAIL, "delay_seconds": 60})

    assert response.status_code == 202, response.content
    job = Job.objects.get()
    assert response["Location"] == f"/api/v1/jobs/{job.pk}"
    assert (job.task, job.state, job.payload["to"], job.payload["subject"]) == (
        "email.send", "scheduled", MAIL["to"], "Hi",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "field"),
    [({"to": ["nobody"]}, "to.0"), ({"to": []}, "to"), ({"subject": "a\nb"}, "subject"), ({"bcc": []}, "bcc")],
)
def test_what_is_wrong_is_named_by_its_field(caller, change, field):
    response = caller().post("/api/v1/emails", {**MAIL, **change})
    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (422, [field])


def test_many_emails_are_a_batch_and_a_wrong_one_is_refused_by_itself(caller):
    emails = [MAIL, {**MAIL, "to": ["nobody"]}, {**MAIL, "priority": "high"}, "text"]
    response = caller().post("/api/v1/emails/bulk", {"name": "news", "emails": emails})

    assert response.status_code == 202, response.content
    body = response.json()
    assert [entry["index"] for entry in body["accepted"]] == [0, 2]
    assert [entry["index"] for entry in body["rejected"]] == [1, 3]
    assert body["rejected"][0]["problem"]["instance"] == "/api/v1/emails/bulk#/emails/1"
    assert Batch.objects.get().name == "news"
    assert {job.priority for job in Job.objects.all()} == {"normal", "high"}


def test_the_same_key_and_body_are_the_same_batch(caller):
    ann = caller()
    for _ in range(2):
        assert ann.post("/api/v1/emails/bulk", {"emails": [MAIL, MAIL]}, Idempotency_Key="k").status_code == 202
        assert ann.post("/api/v1/notifications", NOTE, Idempotency_Key="n").status_code == 202
    assert (Batch.objects.count(), Job.objects.count()) == (2, 5)


def test_a_notification_is_a_job_for_each_channel_that_has_recipients(caller):
    response = caller().post("/api/v1/notifications", {**NOTE, "metadata": {"a": 1}})

    assert response.status_code == 202, response.content
    batch = Batch.objects.get()
    assert response["Location"] == f"/api/v1/batches/{batch.pk}"
    found = {job.task: job for job in Job.objects.filter(batch=batch)}
    assert set(found) == {"email.send", "sms.send", "push.send"}
    assert found["sms.send"].payload == {"to": ["+4930901820"], "text": "It is ready."}
    assert found["push.send"].payload["title"] == found["email.send"].payload["subject"] == "Your report"
    assert all(job.metadata == {"a": 1} for job in found.values())


def test_a_channel_without_recipients_has_no_job(caller):
    caller().post("/api/v1/notifications", {**NOTE, "to": {"sms": ["+4930901820"]}})
    assert [job.task for job in Job.objects.all()] == ["sms.send"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"to": {}}, "to"),
        ({"to": {"sms": ["12"]}}, "to.sms.0"),
        ({"to": {"email": ["ann@example.com"], "push": ["a/b"]}}, "to.push.0"),
        ({"to": {"fax": ["1"]}}, "to.fax"),
        ({"text": ""}, "text"),
        ({"title": "a\nb"}, "title"),
    ],
)
def test_a_notification_with_a_fault_reaches_nobody(caller, change, field):
    response = caller().post("/api/v1/notifications", {**NOTE, **change})
    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (422, [field])
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"text": "  "}, 422, id="a text that says nothing"),
        pytest.param({"html": "h" * 300_000}, 413, id="an e-mail too large, beside an SMS that is not"),
    ],
)
def test_what_one_channel_can_not_take_is_sent_by_none(caller, change, status):
    response = caller().post("/api/v1/notifications", {**NOTE, **change})
    assert response.status_code == status, response.content
    assert (Job.objects.count(), Batch.objects.count()) == (0, 0)


def test_a_notification_whose_job_has_another_meaning_for_its_key_reaches_nobody(caller):
    ann = caller()
    assert ann.post("/api/v1/emails", MAIL, Idempotency_Key="n/1").status_code == 202
    response = ann.post("/api/v1/notifications", NOTE, Idempotency_Key="n")

    assert response.status_code == 422, response.content
    assert (Job.objects.count(), Batch.objects.count()) == (1, 0)
