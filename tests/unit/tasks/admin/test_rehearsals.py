"""Rehearsals of dead letters, by the page; each is a process of its own, on the database of the test."""

import json
from typing import Any

import pytest
from django.apps import apps

from tasks.dead_letters import editing, rehearsal
from tasks.dead_letters.masking import MASK
from tasks.models import AuditEntry, Job
from tests.unit.notifications.conftest import serve, use_port  # noqa: F401  fixtures
from tests.unit.tasks.admin.conftest import staff
from tests.unit.tasks.factories import make_letter, make_message

pytestmark = pytest.mark.django_db(transaction=True)

MAIL = {"to": ["ann@example.com"], "cc": [], "subject": "Your invoice", "text": "It is 42 euro.", "html": None}
REHEARSER = ("tasks.view_deadletter", "tasks.replay_deadletter")
SECRET = {"text": "x", "password": "s3cret-one"}


@pytest.fixture
def rehearser(db):
    return staff("ada", *REHEARSER)


def url(letter):
    return f"/admin/tasks/deadletter/{letter.pk}/rehearse/"


def rows() -> dict[str, list[Any]]:
    return {model._meta.label: list(model._base_manager.order_by("pk").values()) for model in apps.get_models()}


def test_looking_at_the_page_rehearses_nothing(rehearser, monkeypatch):
    monkeypatch.setattr(rehearsal, "rehearse", lambda *_, **__: pytest.fail("it was rehearsed"))
    page = rehearser.get(url(make_letter(payload={"text": "x"}))).content.decode()
    for limit in rehearsal.LIMITS:
        assert limit in page.replace("&#x27;", "'")


def test_a_rehearsed_mail_is_shown_and_none_is_sent_and_no_row_changed(rehearser, serve, monkeypatch):  # noqa: F811
    post = serve()
    monkeypatch.setenv("EMAIL_URL", f"smtp://127.0.0.1:{post.port}")
    letter = make_letter(task="email.send", queue="email-queue", payload=MAIL, error="550 no such user")
    rehearser.get(url(letter))
    before = rows()
    response = rehearser.post(url(letter), {})
    assert rows() == before
    assert post.received == []
    page = response.content.decode()
    assert response.context["report"]["verdict"] == "passed"
    for piece in ("Passed", "Your invoice", "ann@example.com", "It is 42 euro.", "550 no such user", "1 row inserted"):
        assert piece in page, piece


def test_a_failure_stands_beside_the_first_with_its_log_and_what_was_held_back(rehearser, tmp_path):
    file = tmp_path / "precious"
    file.write_text("as it was")
    letter = make_letter(task="probe.overreach", payload={"how": "write", "text": str(file)}, error="first failure")
    page = rehearser.post(url(letter), {}).content.decode()
    for piece in ("Unclear", "It was not let do", f"change {file}", "RehearsalRefused", "first failure"):
        assert piece in page, piece
    page = rehearser.post(url(make_letter(task="probe.fail", payload={"failures": 9})), {}).content.decode()
    for piece in ("Failed", "asked to fail", "Traceback"):
        assert piece in page, piece


def test_rows_files_and_jobs_that_it_would_have_made_are_listed(rehearser):
    page = rehearser.post(url(make_letter(task="probe.overreach", payload={"how": "rows"})), {}).content.decode()
    assert "<code>auth_user</code> 3 rows inserted" in page
    assert "<code>auth_user</code> 1 row deleted" in page
    page = rehearser.post(url(make_letter(task="probe.overreach", payload={"how": "enqueue"})), {}).content.decode()
    assert "Job <code>probe.nap</code> on work-queue" in page


def test_an_edited_payload_is_rehearsed_and_kept_in_the_form(rehearser):
    letter = make_letter(task="probe.fail", payload={"failures": 9})
    response = rehearser.post(url(letter), {"payload": '{"text": "edited"}', "task": "probe.echo"})
    assert response.context["report"]["outcome"]["result"] == {"text": "edited"}
    assert response.context["form"]["payload"].value() == '{"text": "edited"}'
    assert Job.objects.get().payload == {"failures": 9}


@pytest.mark.parametrize(
    ("data", "field"),
    [({"payload": "{"}, "payload"), ({"payload": "[]"}, "payload"), ({"task": "no.such"}, "task")],
)
def test_what_can_not_be_rehearsed_is_told_at_its_field(rehearser, data, field):
    response = rehearser.post(url(make_letter(payload={"text": "x"})), data)
    assert list(response.context["form"].errors) == [field]
    assert response.context["report"] is None
    assert response.context["form"][field].value() == data[field]


def test_a_mask_that_stands_for_nothing_is_told_at_the_payload(rehearser):
    letter = make_letter(task="probe.secret", payload=SECRET)
    response = rehearser.post(url(letter), {"payload": json.dumps({"text": MASK})})
    assert "text: holds a mask" in str(response.context["form"].errors["payload"])


def test_an_unknown_task_is_told_with_what_there_is(rehearser):
    response = rehearser.post(url(make_letter(task="gone.task", payload={})), {})
    assert list(response.context["form"].errors) == ["task"]


def test_a_message_is_rehearsed_as_a_task_with_a_payload(rehearser):
    letter = make_message(b"{")
    assert "message without a job" in rehearser.post(url(letter), {}).content.decode()
    response = rehearser.post(url(letter), {"payload": '{"text": "x"}', "task": "probe.echo"})
    assert response.context["report"]["verdict"] == "passed"


def test_when_too_many_run_the_page_says_so(rehearser, monkeypatch):
    monkeypatch.setattr(rehearsal, "_rooms", type("Full", (), {"acquire": lambda *_, **__: False})())
    response = rehearser.post(url(make_letter(payload={"text": "x"})), {"payload": '{"text": "kept"}'})
    assert "2 rehearsals run here already" in response.content.decode()
    assert response.context["form"]["payload"].value() == '{"text": "kept"}'


def test_secrets_are_masked_in_form_and_report(rehearser):
    letter = make_letter(task="probe.secret", payload=SECRET, error="denied for s3cret-one")
    form = rehearser.get(url(letter))
    kept = form.context["form"]["payload"].value()
    assert json.loads(kept) == {"text": "x", "password": MASK}
    response = rehearser.post(url(letter), {"payload": kept, "unmask": "on"})
    assert response.context["report"]["outcome"]["result"] == f"x {MASK}"
    for page in (form, response):
        assert "s3cret-one" not in page.content.decode()
    assert not AuditEntry.objects.exists()


def test_who_may_unmask_sees_the_report_unmasked_when_asked_and_that_is_recorded():
    letter = make_letter(task="probe.secret", payload=SECRET)
    bob = staff("bob", *REHEARSER, "tasks.unmask_deadletter")
    assert "s3cret-one" not in bob.post(url(letter), {}).content.decode()
    assert not AuditEntry.objects.exists()
    response = bob.post(url(letter), {"unmask": "on"})
    assert response.context["report"]["outcome"]["result"] == "x s3cret-one"
    assert AuditEntry.objects.values_list("actor", "verb").get() == ("bob", "dead_letters.unmask")


def test_an_edit_that_waits_is_rehearsed_as_it_is(rehearser, settings):
    settings.TASKS_EDIT_APPROVAL = True
    letter = make_letter(task="probe.secret", payload=SECRET)
    new = {"text": "new", "password": "n3w-one"}
    edit = editing.propose(letter.pk, new, edited_by="bob", reason="x")
    response = rehearser.post(f"{url(letter)}?edit={edit.pk}", {"payload": '{"text": "else"}'})
    assert response.context["report"]["outcome"]["result"] == f"new {MASK}"
    assert "n3w-one" not in response.content.decode()
    message = make_message(b"{")
    repair = editing.repair(
        message.pk, '{"type": "probe.echo", "data": {"text": "mended"}}', edited_by="bob", reason="x"
    )
    response = rehearser.post(f"{url(message)}?edit={repair.pk}", {})
    assert response.context["report"]["outcome"]["result"] == {"text": "mended"}
    assert rehearser.get(f"{url(letter)}?edit={repair.pk}").status_code == 404
    assert rehearser.get(f"{url(letter)}?edit=no-id").status_code == 404


def test_who_may_not_replay_may_not_rehearse(viewer):
    letter = make_letter(payload={"text": "x"})
    assert viewer.get(url(letter)).status_code == 403
    assert viewer.post(url(letter), {}).status_code == 403
