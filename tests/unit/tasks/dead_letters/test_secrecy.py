"""What a task declares sensitive stays hidden from who may not unmask, wherever else it was written down."""

import json
import math
from typing import Annotated, Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pydantic import BaseModel, field_validator

from tasks.api import JobContext, Sensitive, task
from tasks.dead_letters import editing, inspection, operations, preflight, redirects, replaying
from tasks.errors import InvalidJob
from tasks.models import ApiToken, DeadLetter, Job, JobEvent
from tasks.people import ensure_groups
from tasks.states import JobState
from tests.unit.tasks.factories import letter_of, make_job, make_letter, make_message_letter

pytestmark = pytest.mark.django_db

CARD = "4111-secret-card"


class Payment(BaseModel):
    card: Annotated[str, Sensitive()]

    @field_validator("card")
    @classmethod
    def _is_one(cls, card: str) -> str:
        if card.startswith("bad"):
            raise ValueError(f"{card!r} is no card number")
        return card


class Note(BaseModel):
    card: str


@task("secrecy.pay", payload=Payment, queue="work-queue")
def pay(payload: Payment, context: JobContext) -> Any: ...


@task("secrecy.note", payload=Note, queue="work-queue")
def note(payload: Note, context: JobContext) -> Any: ...


class Amount(BaseModel):
    cents: int


@task("secrecy.amount", payload=Amount, queue="work-queue")
def amount(payload: Amount, context: JobContext) -> Any: ...


@pytest.fixture(autouse=True)
def without_a_manifest(settings):
    settings.STORAGES = {
        **settings.STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }  # fmt: skip


@pytest.fixture
def viewer() -> Client:
    ensure_groups()
    user = User.objects.create_user("vera", is_staff=True)
    user.groups.set(Group.objects.filter(name="Viewers"))
    client = Client()
    client.force_login(user)
    return client


def dead_payment(card: str = CARD, **values: Any) -> DeadLetter:
    return make_letter(task="secrecy.pay", payload={"card": card}, error=f"no {card}", **values)


def pages_of(job: Job) -> list[str]:
    about_job = [reverse("admin:tasks_job_change", args=[job.pk]), f"/api/v1/jobs/{job.pk}"]
    about_letters = [
        address
        for letter in job.dead_letters.all()
        for address in (
            reverse("admin:tasks_deadletter_change", args=[letter.pk]),
            f"/api/v1/dead-letters/{letter.pk}",
        )
    ]
    histories = [f"/api/v1/jobs/{job.pk}/{what}" for what in ("stream", "events", "attempts")]
    return [*about_job, *histories, "/api/v1/jobs", *about_letters]


def check_hidden(viewer: Client, job: Job, secret: str = CARD) -> None:
    for address in pages_of(job):
        seen = viewer.get(address)
        assert seen.status_code == 200, address
        assert secret not in seen.content.decode(), address


def test_in_a_result_metadata_and_progress_that_repeat_it(viewer):
    job = make_job(
        JobState.SUCCEEDED,
        task="secrecy.pay",
        payload={"card": CARD},
        result={"echo": CARD, "url": f"/files/{CARD}"},
        metadata={"note": f"paid by {CARD}"},
        progress_note=f"charging {CARD}",
    )
    JobEvent.objects.create(job=job, kind="succeeded")
    check_hidden(viewer, job)


def test_from_others_and_not_from_who_sent_it(client):
    text = ApiToken.issue("shop", ["jobs:read"])[1]
    job = make_job(task="secrecy.pay", payload={"card": CARD}, requested_by="token:shop")
    seen = client.get(f"/api/v1/jobs/{job.pk}", headers={"Authorization": f"Bearer {text}"})
    assert seen.json()["payload"] == {"card": CARD}


def test_after_a_replay_as_a_task_that_would_show_it(viewer, outbox):
    letter = dead_payment()
    replaying.replay(letter.pk, requested_by="ada", task="secrecy.note")
    assert Job.objects.get().task == "secrecy.note"
    check_hidden(viewer, Job.objects.get())


def test_the_value_from_before_an_edit_as_well_as_the_new_one(viewer, outbox):
    # given
    letter = dead_payment()
    JobEvent.objects.create(job=letter.job, kind="retrying", detail={"error": f"no {CARD}"})
    editing.propose(letter.pk, {"card": "5500-other-card"}, edited_by="ada", reason="a typo")

    # when
    job = Job.objects.get()
    job.state, job.finished_at, job.error = JobState.DEAD, timezone.now(), f"5500-other-card, formerly {CARD}"
    job.save()
    letter_of(job, error=job.error, attempt=9)

    # then
    check_hidden(viewer, job)
    check_hidden(viewer, job, "5500-other-card")


def test_in_the_envelope_of_a_message_that_never_became_a_job(viewer):
    body = json.dumps({"type": "secrecy.pay", "data": {"card": CARD}}).encode()
    letter = make_message_letter(body=body, task="")
    seen = inspection.inspect(letter.pk)
    assert seen.is_masked
    assert CARD not in json.dumps(seen.document())


def test_in_headers_that_quote_the_arguments(viewer):
    body = json.dumps([[], {"password": "hunter2-longer"}, {}]).encode()
    headers = {"kwargsrepr": "{'password': 'hunter2-lon...'}", "note": "hunter2-longer"}
    letter = make_message_letter(body=body, headers=headers)
    seen = inspection.inspect(letter.pk)
    assert seen.headers["kwargsrepr"] == seen.headers["note"] == "••••••"


def test_in_why_an_operation_leaves_a_letter_out():
    dead_payment("bad-card-number")
    (sample,) = preflight.look("replay", "").samples["invalid_payload"]
    assert "card" in sample.why
    assert "bad-card-number" not in sample.why


def test_in_why_a_replay_is_refused():
    letter = dead_payment("bad-card-number")
    Job.objects.update(task="secrecy.note")
    with pytest.raises(InvalidJob) as refused:
        replaying.replay(letter.pk, requested_by="ada", task="secrecy.pay")
    assert "bad-card-number" not in str(refused.value)


def test_in_what_an_operation_says_of_those_that_failed_again(outbox):
    letter = dead_payment()
    operation = operations.start("replay", "", requested_by="ada", steps=[], rate_per_second=math.inf)
    operations.advance(60)
    Job.objects.filter(pk=letter.job_id).update(
        state=JobState.DEAD, finished_at=timezone.now(), error=f"still no {CARD}"
    )
    operations.advance(60)
    (item,) = operation.items.all()
    assert (item.state, item.why) == ("failed", "still no ••••••")


@pytest.mark.parametrize("quoted", [repr, json.dumps])
def test_where_an_error_quotes_it_in_another_spelling(quoted):
    secret = "one\nsecret \"or\" 'two'"
    letter = dead_payment(secret)
    letter.error = f"can not read {quoted(secret)}"
    letter.save()
    assert inspection.inspect(letter.pk).error == f"can not read {quoted(secret)[0]}••••••{quoted(secret)[-1]}"


def test_a_header_s_credentials_in_the_message_of_a_group():
    letter = letter_of(headers={"Authorization": "Bearer abc123secret"}, error="401 for abc123secret")
    assert "abc123secret" not in inspection.inspect(letter.pk).error


def test_a_standing_redirect_that_can_not_be_followed_is_told_in_words(admin_client):
    letter = dead_payment()
    redirects.add(from_task="secrecy.pay", to_task="secrecy.amount", requested_by="ada", reason="moved")
    page = reverse("admin:tasks_job_change", args=[letter.job_id])
    answer = admin_client.post(reverse("admin:tasks_job_replay", args=[letter.job_id]), {"_form_submitted": "1"})
    assert (answer.status_code, answer.headers.get("Location", page)) == (302, page)
    assert Job.objects.get().state == JobState.DEAD
