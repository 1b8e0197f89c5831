"""manage.py dead_letters edit|repair|edits|approve|reject"""

import io
import json
import pwd
import sys

import pytest

from tasks.dead_letters import editing
from tasks.models import DeadLetter, Job, LetterEdit
from tests.unit.tasks.commands.terminal import run
from tests.unit.tasks.factories import make_letter, make_message_letter

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]


@pytest.fixture
def typed(monkeypatch):
    """Put ``text`` on standard input."""

    def put(text):
        raw = text if isinstance(text, bytes) else text.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))

    return put


@pytest.fixture
def account(monkeypatch):
    """Run as this account."""

    def become(name):
        monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd((name, "x", uid, 7, "", "/", "/bin/sh")))

    become("ann")
    return become


def test_a_payload_from_a_file_is_replayed_and_its_difference_printed(tmp_path, account):
    letter = make_letter(payload={"text": "a"})
    file = tmp_path / "payload.json"
    file.write_text('{"text": "b"}')
    code, printed, _ = run("edit", letter.pk, file, "--reason", "a typo")
    assert (code, printed.splitlines()[:3]) == (0, ["text", '  - "a"', '  + "b"'])
    assert "is applied: replayed as job" in printed
    assert Job.objects.get().payload["text"] == "b"
    assert LetterEdit.objects.get().edited_by == "command:ann"


def test_a_dry_run_shows_the_difference_and_changes_nothing(typed):
    letter = make_letter(payload={"text": "a"})
    typed('{"text": "b"}')
    outcome = run("edit", letter.pk, "--reason", "a typo", "--dry-run", "--json")
    assert (outcome.data["id"], outcome.data["state"]) == (None, "draft")
    assert {"field": "text", "kind": "changed", "before": "a", "after": "b"} in outcome.data["changes"]
    assert (DeadLetter.objects.get().state, LetterEdit.objects.exists()) == ("open", False)


def test_what_was_printed_masked_may_come_back_masked(typed):
    letter = make_letter(task="probe.secret", payload={"text": "a", "password": "hunter22"})
    begin = json.loads(run("edit", letter.pk, "--print").printed)
    assert begin == {"text": "a", "password": "••••••"}
    typed(json.dumps({**begin, "text": "b"}))
    assert "hunter22" not in run("edit", letter.pk, "--reason", "a typo").printed
    assert Job.objects.get().payload == {"text": "b", "password": "hunter22"}


@pytest.mark.parametrize(
    ("text", "options", "complaint"),
    [
        ('{"text": "b"}', [], "--reason: say why"),
        ('{"text": "b"}', ["--reason", "x", "--queue", "nope"], "--queue: no queue 'nope'"),
        ('{"text": "b"}', ["--reason", "x", "--task", "nope"], "--task: no task 'nope'"),
        ('{"failures": "many"}', ["--reason", "x"], "payload.failures: "),
        ("{", ["--reason", "x"], "the payload is no JSON"),
        ("[]", ["--reason", "x"], "the payload is a JSON object"),
        (b"\xff", ["--reason", "x"], "is not encoded as UTF-8"),
    ],
)
def test_an_edit_that_makes_no_sense_is_refused_at_its_option(typed, text, options, complaint):
    letter = make_letter(payload={"text": "a"})
    typed(text)
    outcome = run("edit", letter.pk, *options)
    assert (outcome.code, complaint in outcome.complaint) == (1, True)
    assert DeadLetter.objects.get().state == "open"


def test_a_file_that_is_not_there_is_named(tmp_path):
    complaint = run("edit", make_letter().pk, tmp_path / "none", "--reason", "x").complaint
    assert complaint.startswith(f"{tmp_path / 'none'} can not be read: No such file")


def test_a_message_is_repaired_as_text(typed):
    letter = make_message_letter(body=b'{"type": "probe.echo", "data": {"text": "a"}}', reason="invalid_message")
    text = run("repair", letter.pk, "--print").printed
    assert json.loads(text) == {"type": "probe.echo", "data": {"text": "a"}}
    typed(text.replace('"a"', '"b"'))
    assert run("repair", letter.pk, "--reason", "the wrong letter").code == 0
    assert (Job.objects.get().payload["text"], DeadLetter.objects.get().state) == ("b", "replayed")


def test_text_that_can_not_be_masked_is_not_printed():
    letter = make_message_letter(body=b'{"password": "hunter22"', reason="undecodable")
    code, printed, complaint = run("repair", letter.pk, "--print")
    assert (code, printed, "--unmask" in complaint) == (1, "", True)


def test_a_letter_with_a_job_is_edited_and_one_without_repaired(typed):
    typed("{}")
    assert "`dead_letters repair`" in run("edit", make_message_letter().pk, "--print").complaint
    assert "`dead_letters edit`" in run("repair", make_letter().pk, "--print").complaint
    typed('{"type": "probe.echo"}')
    assert "has a job" in run("repair", make_letter().pk, "--reason", "x").complaint


def test_an_edit_waits_for_a_second_account_where_that_is_asked_for(typed, account, settings):
    settings.TASKS_EDIT_APPROVAL = True
    letter = make_letter(payload={"text": "a"})
    typed('{"text": "b"}')
    assert "waits for a second person" in run("edit", letter.pk, "--reason", "a typo").printed
    edit = LetterEdit.objects.get()
    assert str(edit.pk) in run("edits").printed
    assert "a second person approves it" in run("approve", edit.pk).complaint
    account("bob")
    assert "is applied: replayed as job" in run("approve", edit.pk).printed
    assert (LetterEdit.objects.get().decided_by, DeadLetter.objects.get().state) == ("command:bob", "replayed")
    assert run("edits").printed == "no edits\n"
    assert [each["state"] for each in run("edits", letter.pk, "--json").data] == ["applied"]


def test_a_person_and_the_account_of_that_name_are_no_two_persons(account, settings):
    settings.TASKS_EDIT_APPROVAL = True
    letter = make_letter(payload={"text": "a"})
    edit = editing.propose(letter.pk, {"text": "b"}, edited_by="Ann", reason="a typo")
    assert "a second person approves it" in run("approve", edit.pk).complaint
    assert run("reject", edit.pk, "--reason", "mine").printed == f"edit {edit.pk} is rejected\n"
    account("bob")
    assert "was rejected" in run("approve", edit.pk).complaint
