"""Edits of dead letters, by the pages: the form, the difference, the edit, and who decides on it."""

import json
import re
from typing import Annotated, Any

import pytest
from django import forms
from pydantic import BaseModel

from tasks.api import Sensitive, task
from tasks.dead_letters import editing, replaying
from tasks.dead_letters.masking import MASK
from tasks.models import AuditEntry, DeadLetter, Job, LetterEdit
from tests.unit.tasks.admin.conftest import staff
from tests.unit.tasks.factories import make_letter, make_message

pytestmark = pytest.mark.django_db

EVERYTHING: dict[str, Any] = {
    "line": "x", "text": "two\nlines", "count": 4, "ratio": 0.25, "is_loud": True, "day": "2026-03-01",
    "moment": "2026-03-01T12:30:00Z", "size": "very_large", "color": "dark_blue", "formats": ["csv", "pdf"],
    "to": ["ann@example.com"], "tags": ["a", "b"], "maybe": 7, "point": {"x": 1, "y": 2}, "extra": {"k": [1]},
}  # fmt: skip
EDITOR = ("tasks.view_deadletter", "tasks.edit_deadletter")
APPROVER = ("tasks.view_deadletter", "tasks.approve_deadletter")


class Login(BaseModel):
    user: str
    password: str = ""
    pin: Annotated[int, Sensitive()] = 0
    keys: list[dict[str, str]] = []


@pytest.fixture(autouse=True)
def with_secrets(kinds_of_work):
    task("case.login", payload=Login, title="Log in")(lambda payload, context: None)


@pytest.fixture
def needs_approval(settings):
    settings.TASKS_EDIT_APPROVAL = True


@pytest.fixture
def editor(db):
    return staff("ada", *EDITOR)


def url(letter):
    return f"/admin/tasks/deadletter/{letter.pk}/edit/"


def page_of(edit):
    return f"/admin/tasks/letteredit/{edit.pk}/change/"


def sent(response, **changes):
    """What a browser sends of the form that ``response`` shows."""
    context = response.context
    body, target = context["body"], context["target"]
    data = {"kind": context["kind"], "form_task": context["form_task"], "step": "look"}
    if context["is_unmasked"]:
        data["unmasked"] = "yes"
    for form in (body, target):
        for bound in form:
            value = bound.value()
            if isinstance(bound.field, (forms.ChoiceField, forms.BooleanField)) or value is None:
                data[bound.html_name] = value or ""
            else:
                data[bound.html_name] = bound.field.widget.format_value(value)
    data |= {"reason": "it was wrong"}
    return {name: value for name, value in {**data, **changes}.items() if value not in ("", [], None)}


def carried(response, **changes):
    """What a browser sends of the page that shows the difference."""
    context = response.context
    data = {context["typed_name"]: context["typed"], "kind": context["kind"], "form_task": context["form_task"]}
    if context["is_unmasked"]:
        data["unmasked"] = "yes"
    data |= {bound.html_name: bound.value() or "" for bound in context["target"]}
    return {**data, "step": "apply", **changes}


def looked(client, letter, **changes):
    return client.post(url(letter), sent(client.get(url(letter)), **changes))


def shown(response):
    return {change["field"]: (change["before"], change["after"]) for change in response.context["changes"]}


def is_as_it_was(letter):
    job = Job.objects.get(pk=letter.job_id) if letter.job_id else None
    is_open = DeadLetter.objects.get(pk=letter.pk).state == "open"
    return is_open and not LetterEdit.objects.exists() and (job is None or job.state == "dead")


# The form


def test_the_form_of_the_task_begins_with_the_payload_that_died(editor):
    page = editor.get(url(make_letter(task="case.everything", payload=EVERYTHING)))
    assert page.context["kind"] == "fields"
    body = page.context["body"]
    assert body["line"].initial == "x"
    assert 'name="payload-line" value="x"' in page.content.decode()


def test_a_form_sent_back_as_it_began_changes_nothing(editor):
    letter = make_letter(task="case.everything", payload=EVERYTHING)
    response = looked(editor, letter)
    assert response.context["changes"] == []
    assert "No field differs" in response.content.decode()
    assert is_as_it_was(letter)


def test_the_difference_is_shown_before_anything_is_done_and_applied_after(editor, outbox):
    letter = make_letter(task="case.everything", payload=EVERYTHING)
    response = looked(editor, letter, **{"payload-line": "y", "payload-to": "ann@example.com\r\nbob@example.com"})
    assert shown(response) == {"line": ("x", "y"), "to.1": (None, "bob@example.com")}
    assert is_as_it_was(letter)
    assert "No second person is asked" in response.content.decode()

    response = editor.post(url(letter), carried(response), follow=True)
    edit = LetterEdit.objects.get()
    assert response.request["PATH_INFO"] == page_of(edit)
    assert (edit.state, edit.edited_by, edit.reason) == ("applied", "ada", "it was wrong")
    job = Job.objects.get(pk=letter.job_id)
    assert (job.state, job.payload["to"]) == ("queued", ["ann@example.com", "bob@example.com"])
    assert f"/admin/tasks/job/{job.pk}/change/" in response.content.decode()


@pytest.mark.parametrize(
    "payload",
    [
        {**EVERYTHING, "unknown": 1},
        {**EVERYTHING, "to": "no list"},
        {**EVERYTHING, "line": " blanks "},
        {**EVERYTHING, "moment": "2026-03-01T12:30:00.123456Z"},
        {**EVERYTHING, "size": "gone"},
        {**EVERYTHING, "text": "their\r\nown"},
        {**EVERYTHING, "count": "four"},
        {**EVERYTHING, "is_loud": 1},
    ],
)
def test_a_payload_that_does_not_fit_the_form_is_edited_as_json(editor, payload):
    page = editor.get(url(make_letter(task="case.everything", payload=payload)))
    assert page.context["kind"] == "json"
    assert json.loads(page.context["body"]["json"].value()) == payload


def test_what_is_wrong_stands_at_its_field_and_what_was_typed_is_kept(editor):
    letter = make_letter(task="case.everything", payload=EVERYTHING)
    response = looked(editor, letter, **{"payload-to": "nobody", "payload-line": "kept", "reason": " "})
    body, target = response.context["body"], response.context["target"]
    assert list(body.errors) == ["to"]
    assert list(target.errors) == ["reason"]
    assert body["line"].value() == "kept"
    assert "Nothing was changed" in response.content.decode()
    assert is_as_it_was(letter)


def test_what_can_not_be_read_is_told_with_the_rest(editor):
    letter = make_letter(task="case.everything", payload=EVERYTHING)
    response = looked(editor, letter, **{"payload-count": "many", "reason": ""})
    assert list(response.context["body"].errors) == ["count"]
    assert list(response.context["target"].errors) == ["reason"]


def test_one_may_switch_to_json_and_back_with_what_was_typed(editor):
    letter = make_letter(task="case.everything", payload=EVERYTHING)
    response = looked(editor, letter, **{"payload-line": "typed", "step": "json"})
    assert response.context["kind"] == "json"
    assert json.loads(response.context["body"]["json"].value()) == {
        **EVERYTHING,
        "line": "typed",
        "moment": "2026-03-01T12:30:00+00:00",
    }
    response = editor.post(url(letter), sent(response, step="fields"))
    assert response.context["kind"] == "fields"
    assert response.context["body"]["line"].value() == "typed"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"line": }'])
def test_json_that_is_no_payload_is_kept_and_told(editor, text):
    letter = make_letter(task="gone.task", payload={"a": 1})
    response = editor.post(url(letter), {"kind": "json", "json": text, "reason": "x", "step": "look"})
    assert list(response.context["body"].errors) == ["json"]
    assert response.context["body"]["json"].value() == text
    assert is_as_it_was(letter)


def test_one_goes_back_from_the_difference_with_what_was_typed(editor):
    letter = make_letter(task="case.everything", payload=EVERYTHING)
    response = looked(editor, letter, **{"payload-line": "typed", "queue": "sms-queue"})
    response = editor.post(url(letter), carried(response, step="back"))
    assert response.context["kind"] == "fields"
    assert response.context["body"]["line"].value() == "typed"
    assert response.context["target"]["queue"].value() == "sms-queue"


def test_a_letter_of_an_unknown_task_is_edited_to_one_that_takes_it(editor, outbox):
    letter = make_letter(task="gone.task", payload={"words": "x"}, reason="unknown_task")
    page = editor.get(url(letter))
    assert page.context["kind"] == "json"
    assert "knows no task" in page.content.decode()
    response = looked(editor, letter)
    assert list(response.context["target"].errors) == ["task"]
    response = looked(editor, letter, json='{"text": "x"}', task="case.plain", queue="push-queue")
    assert shown(response) == {"words": ("x", None), "text": (None, "x")}
    editor.post(url(letter), carried(response))
    job = Job.objects.get()
    assert (job.task, job.queue, job.payload) == ("case.plain", "push-queue", {"text": "x"})


def test_for_another_task_its_own_form_is_shown_first(editor):
    letter = make_letter(task="case.plain", payload={"text": "x"})
    response = looked(editor, letter, task="probe.echo")
    assert response.context["form_task"] == "probe.echo"
    assert response.context["body"]["text"].value() == "x"
    assert is_as_it_was(letter)
    response = editor.post(url(letter), sent(response))
    assert response.context["draft"].task == "probe.echo"


@pytest.mark.parametrize("field", ["task", "queue"])
def test_a_target_that_there_is_not_is_told_at_its_field(editor, field):
    letter = make_letter(task="case.plain", payload={"text": "x"})
    response = looked(editor, letter, **{field: "no.such"})
    assert list(response.context["target"].errors) == [field]
    assert is_as_it_was(letter)


def test_what_was_decided_meanwhile_is_told_on_the_letters_page(editor, outbox):
    letter = make_letter(task="case.plain", payload={"text": "x"})
    response = looked(editor, letter)
    replaying.replay(letter.pk)
    response = editor.post(url(letter), carried(response), follow=True)
    assert "It is replayed, not open" in response.content.decode()
    assert not LetterEdit.objects.exists()


def test_who_may_not_edit_is_told_what_is_missing(viewer):
    letter = make_letter(task="case.plain", payload={"text": "x"})
    assert viewer.get(url(letter)).status_code == 403
    assert viewer.post(url(letter), {"kind": "json", "json": "{}", "reason": "x", "step": "apply"}).status_code == 403
    assert is_as_it_was(letter)


# What is masked

LOGIN = {"user": "ann", "password": "s3cret-one", "pin": 4711, "keys": [{"token": "t0ken-one"}]}


@pytest.fixture
def secret(db):
    return make_letter(task="case.login", payload=LOGIN, error="denied for s3cret-one")


@pytest.mark.parametrize("as_what", ["fields", "json"])
def test_who_may_not_unmask_sees_no_secret_and_keeps_it(editor, secret, outbox, as_what):
    page = editor.get(url(secret), {"as": as_what})
    pages = [page]
    changes = (
        {"payload-user": "bob"}
        if as_what == "fields"
        else {"json": page.context["body"].initial.get("json", "").replace("ann", "bob")}
    )
    pages.append(editor.post(url(secret), sent(page, **changes)))
    assert shown(pages[1]) == {"user": ("ann", "bob")}
    pages.append(editor.post(url(secret), carried(pages[1]), follow=True))
    for response in pages:
        for hidden in ("s3cret-one", "4711", "t0ken-one"):
            assert hidden not in response.content.decode()
    assert Job.objects.get().payload == {**LOGIN, "user": "bob"}
    assert MASK not in json.dumps(LetterEdit.objects.get().payload, ensure_ascii=False)


def test_a_secret_may_be_written_anew_by_who_can_not_see_it(editor, secret, outbox):
    response = looked(editor, secret, **{"payload-password": "n3w", "payload-pin": "12"})
    assert shown(response) == {"password": (MASK, MASK), "pin": (MASK, MASK)}
    editor.post(url(secret), carried(response))
    assert Job.objects.get().payload == {**LOGIN, "password": "n3w", "pin": 12}


def test_a_mask_elsewhere_is_refused_at_its_field(editor, secret):
    response = looked(editor, secret, **{"payload-user": MASK, "payload-password": f"{MASK}x"})
    assert set(response.context["body"].errors) == {"user", "password"}
    assert is_as_it_was(secret)


def test_unmasking_needs_the_right_and_is_recorded_each_time(editor, secret):
    data = sent(editor.get(url(secret)), step="unmask")
    assert editor.post(url(secret), data).status_code == 403
    assert editor.post(url(secret), {**data, "step": "look", "unmasked": "yes"}).status_code == 403
    assert not AuditEntry.objects.exists()
    bob = staff("bob", *EDITOR, "tasks.unmask_deadletter")
    assert "s3cret-one" not in bob.get(url(secret)).content.decode()
    response = bob.post(url(secret), {**data, "payload-user": "typed"})
    assert response.context["body"]["password"].value() == "s3cret-one"
    assert response.context["body"]["user"].value() == "typed"
    assert "recorded" in response.content.decode()
    response = bob.post(url(secret), sent(response, **{"payload-password": "n3w"}))
    assert shown(response) == {"user": ("ann", "typed"), "password": ("s3cret-one", "n3w")}
    entries = AuditEntry.objects.values_list("actor", "verb", "subject")
    assert list(entries) == [("bob", "dead_letters.unmask", str(secret.pk))] * 2


# Messages without a job


def test_a_message_is_repaired_as_text(editor, outbox):
    letter = make_message(b'{"type": "case.plain", "data": {"text": "x"}, "id": "m-1", "color": "red"}')
    page = editor.get(url(letter))
    assert page.context["kind"] == "text"
    assert page.context["body"]["text"].value() == letter.body.decode()
    response = looked(editor, letter)
    assert "color: is no word" in str(response.context["body"].errors["text"])
    text = '{"type": "case.plain", "data": {"text": "y"}, "id": "m-1"}'
    response = looked(editor, letter, text=text)
    assert shown(response) == {"data.text": ("x", "y"), "color": ("red", None)}
    assert is_as_it_was(letter)
    editor.post(url(letter), carried(response))
    job = Job.objects.get()
    assert (job.task, job.payload, job.idempotency_key) == ("case.plain", {"text": "y"}, "m-1")
    assert LetterEdit.objects.get().job == job


def test_a_task_chosen_for_a_message_is_told_at_its_field(editor):
    response = looked(editor, make_message(b"{}"), task="no.such")
    assert "task" in response.context["target"].errors


def test_text_that_nobody_can_mask_is_not_shown_to_who_may_not_unmask(editor):
    letter = make_message(b'{"password": "s3cret-one"')
    page = editor.get(url(letter))
    assert "s3cret-one" not in page.content.decode()
    assert "Write it anew" in page.content.decode()
    bob = staff("bob", *EDITOR, "tasks.unmask_deadletter")
    response = bob.post(url(letter), {"kind": "text", "text": "", "step": "unmask"})
    assert response.context["body"]["text"].value() == '{"password": "s3cret-one"'
    response = bob.post(url(letter), {"kind": "text", "text": "typed", "step": "unmask"})
    assert response.context["body"]["text"].value() == "typed"


def test_markup_in_a_message_is_shown_as_text(editor):
    text = '{"type": "case.plain", "data": {"text": "<script>alert(1)</script>"}}'
    letter = make_message(text.replace("alert", "before").encode())
    for response in (editor.get(url(letter)), looked(editor, letter, text=text)):
        assert "<script>alert" not in response.content.decode()
        assert "<script>before" not in response.content.decode()


# Approval


def proposed(letter=None, by="ada", **values):
    letter = letter or make_letter(task="case.plain", payload={"text": "before"})
    return editing.propose(letter.pk, {"text": "after"}, edited_by=by, reason="it was wrong", **values)


def decide(client, edit, how, **data):
    return client.post(f"/admin/tasks/letteredit/{edit.pk}/{how}/", data, follow=True)


def test_with_approval_the_editor_is_told_and_nothing_is_published(editor, needs_approval, outbox):
    letter = make_letter(task="case.plain", payload={"text": "x"})
    assert "A second person must approve it first" in editor.get(url(letter)).content.decode()
    response = looked(editor, letter, **{"payload-text": "y"})
    assert "waits until a second person approves it" in response.content.decode()
    page = editor.post(url(letter), carried(response), follow=True).content.decode()
    assert "a second person must approve it before anything is replayed" in page
    assert "You may not approve the edits of others" in page
    assert Job.objects.get().state == "dead"
    response = editor.get(url(letter), follow=True)
    assert response.request["PATH_INFO"] == page_of(LetterEdit.objects.get())


def test_a_second_person_approves(needs_approval, outbox):
    edit = proposed()
    bob = staff("bob", *APPROVER)
    page = bob.get(page_of(edit))
    assert shown(page) == {"text": ("before", "after")}
    page = decide(bob, edit, "approve").content.decode()
    edit.refresh_from_db()
    assert (edit.state, edit.decided_by) == ("applied", "bob")
    assert Job.objects.get().payload == {"text": "after"}
    assert f"/admin/tasks/job/{edit.job_id}/change/" in page


def test_nobody_approves_the_own_edit(needs_approval):
    edit = proposed()
    ada = staff("Ada", *EDITOR, *APPROVER)
    page = ada.get(page_of(edit)).content.decode()
    assert 'disabled title="You made this edit; a second person approves it."' in page
    assert "a second person approves it" in decide(ada, edit, "approve").content.decode()
    edit.refresh_from_db()
    assert edit.state == "proposed"


def disabled(response):
    return [tag for tag in re.findall(r"<button[^>]*>", response.content.decode()) if " disabled" in tag]


def test_a_button_that_is_disabled_stays_so(needs_approval, editor):
    """A binding of Alpine's to the same attribute would take it away."""
    tags = disabled(editor.get(page_of(proposed())))
    tags += disabled(looked(editor, make_letter(task="case.plain", payload={"text": "x"})))
    assert len(tags) >= 2
    assert not any("x-bind:disabled" in tag for tag in tags)


def test_without_the_right_nobody_decides(needs_approval, viewer):
    edit = proposed()
    page = viewer.get(page_of(edit)).content.decode()
    assert "You may not approve the edits of others: ask for the permission" in page
    assert decide(viewer, edit, "approve").status_code == 403
    assert decide(viewer, edit, "reject", reason="no").status_code == 403
    edit.refresh_from_db()
    assert edit.state == "proposed"


def test_a_rejection_says_why(needs_approval):
    edit = proposed()
    bob = staff("bob", *APPROVER)
    response = decide(bob, edit, "reject", reason=" ")
    assert list(response.context["form"].errors) == ["reason"]
    edit.refresh_from_db()
    assert edit.state == "proposed"
    decide(bob, edit, "reject", reason="the address is right")
    edit.refresh_from_db()
    assert (edit.state, edit.decided_by) == ("rejected", "bob")
    assert AuditEntry.objects.get(verb="dead_letters.reject").reason == "the address is right"
    assert Job.objects.get().state == "dead"


def test_an_editor_takes_the_own_edit_back(needs_approval, editor):
    edit = proposed()
    assert "Take it back" in editor.get(page_of(edit)).content.decode()
    decide(editor, edit, "reject", reason="a slip")
    edit.refresh_from_db()
    assert edit.state == "rejected"


def test_an_edit_is_decided_once(needs_approval, outbox):
    edit = proposed()
    bob = staff("bob", *APPROVER)
    decide(bob, edit, "approve")
    assert "Nothing was changed" in decide(bob, edit, "reject", reason="late").content.decode()
    assert "Nothing was changed" in decide(bob, edit, "approve").content.decode()


def test_nothing_is_done_by_looking(needs_approval):
    edit = proposed()
    bob = staff("bob", *APPROVER)
    for how in ("approve", "reject", "unmask"):
        bob.get(f"/admin/tasks/letteredit/{edit.pk}/{how}/")
    assert bob.post(page_of(edit), {"state": "applied"}).status_code == 403
    edit.refresh_from_db()
    assert edit.state == "proposed"


def test_a_stale_edit_can_only_be_rejected(needs_approval, outbox):
    edit = proposed()
    replaying.replay(edit.letter_id)
    page = staff("bob", *APPROVER).get(page_of(edit)).content.decode()
    assert "can not be applied any more" in page


def test_an_edit_is_masked_until_somebody_unmasks_it(needs_approval, secret):
    seen = {**LOGIN, "password": "n3w-one", "user": "bob"}
    edit = editing.propose(secret.pk, seen, edited_by="ada", reason="x")
    bob = staff("bob", *APPROVER, "tasks.unmask_deadletter")
    page = bob.get(page_of(edit))
    assert shown(page) == {"user": ("ann", "bob"), "password": (MASK, MASK)}
    assert "n3w-one" not in page.content.decode()
    page = decide(bob, edit, "unmask")
    assert shown(page)["password"] == ("s3cret-one", "n3w-one")
    assert AuditEntry.objects.filter(actor="bob", verb="dead_letters.unmask").count() == 1
    assert decide(staff("cy", *APPROVER), edit, "unmask").status_code == 403


def test_the_list_shows_what_waits_unless_asked_otherwise(needs_approval, viewer, settings, outbox):
    waiting = proposed()
    rejected = editing.reject(proposed().pk, rejected_by="bob")
    settings.TASKS_EDIT_APPROVAL = False
    applied = proposed()

    def listed(**asked):
        response = viewer.get("/admin/tasks/letteredit/", asked)
        return {edit.pk for edit in response.context["cl"].result_list}

    assert listed() == {waiting.pk}
    assert listed(state="rejected") == {rejected.pk}
    assert listed(state="applied") == {applied.pk}
    assert listed(state="all") == {waiting.pk, rejected.pk, applied.pk}


def test_the_list_costs_the_same_queries_for_many_edits(needs_approval, admin_client, django_assert_max_num_queries):
    for _ in range(12):
        proposed()
    with django_assert_max_num_queries(7):
        admin_client.get("/admin/tasks/letteredit/")


def test_who_may_not_see_dead_letters_sees_no_edits(needs_approval):
    edit = proposed()
    nobody = staff("nobody")
    assert nobody.get("/admin/tasks/letteredit/").status_code == 403
    assert nobody.get(page_of(edit)).status_code == 403
