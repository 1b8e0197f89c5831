import uuid

import pytest

from tasks.api import IllegalTransition, InvalidJob
from tasks.dead_letters import replaying
from tasks.models import AuditEntry, DeadLetter, Job
from tests.unit.tasks.factories import kinds, make_job, make_letter

pytestmark = pytest.mark.django_db


def test_a_letter_is_replayed_as_another_task_on_another_queue(outbox):
    letter = replaying.replay(make_letter().pk, requested_by="ada", task="probe.nap", queue="sms-queue")
    job = Job.objects.get()
    assert (job.pk, job.task, job.queue, job.state) == (letter.job_id, "probe.nap", "sms-queue", "queued")
    assert (letter.state, letter.task, letter.queue) == ("replayed", "probe.echo", "work-queue")
    assert kinds(job) == ["dead", "replayed"]


@pytest.mark.parametrize(("field", "name"), [("task", "no.task"), ("queue", "no-queue")])
def test_a_target_that_is_not_known_is_named_with_those_there_are(field, name):
    letter = make_letter()
    with pytest.raises(InvalidJob, match=f"{name}.*; there are ") as caught:
        replaying.replay(letter.pk, **{field: name})
    assert caught.value.problems[0]["field"] == field
    assert DeadLetter.objects.get().state == "open"


def test_another_task_that_has_the_key_already_is_told(outbox):
    letter = make_letter(idempotency_key="order-7")
    make_job(task="probe.nap", idempotency_key="order-7")
    with pytest.raises(InvalidJob, match="order-7"):
        replaying.replay(letter.pk, task="probe.nap")
    assert Job.objects.get(pk=letter.job_id).state == "dead"


def test_a_replay_is_audited_under_the_name_of_who_asked(outbox):
    letter, other = make_letter(), make_letter()
    replaying.replay(letter.pk, requested_by="ada", queue="sms-queue")
    replaying.replay_job(other.job_id, requested_by="bob")
    assert list(AuditEntry.objects.order_by("id").values_list("actor", "verb", "subject", "detail")) == [
        ("ada", "dead_letters.replay", str(letter.pk), {"queue": "sms-queue"}),
        ("bob", "dead_letters.replay", f"job {other.job_id}", {}),
    ]


def test_one_of_an_operation_is_told_in_the_history_and_not_by_itself_in_the_audit(outbox):
    letter, operation = make_letter(), uuid.uuid4()
    replaying.replay(letter.pk, requested_by="ada", operation=operation)
    detail = Job.objects.get().events.get(kind="replayed").detail
    assert detail == {"requested_by": "ada", "operation": str(operation)}
    assert not AuditEntry.objects.exists()


def test_a_job_that_is_not_dead_is_not_requeued():
    with pytest.raises(IllegalTransition, match="only a dead job"):
        replaying.requeue(make_job(), requested_by="ada")
