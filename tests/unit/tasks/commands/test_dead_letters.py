"""manage.py dead_letters, as a person and a script read it: what is found, shown, and done to one by one."""

import json
import os
import pwd
import uuid
from typing import get_type_hints

import pytest
from django.core.management import call_command
from django.db import OperationalError

from tasks.dead_letters import documents, replaying
from tasks.errors import BrokerUnavailable
from tasks.management.commands.dead_letters import ROOMS
from tasks.models import AuditEntry, DeadLetter, Job, JobEvent
from tests.unit.tasks.commands.terminal import run
from tests.unit.tasks.factories import letter_of, make_letter, make_message_letter

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]


def test_open_letters_are_listed_newest_first():
    old, new = (letter_of(error_type="ValueError", error="no\nmore") for _ in range(2))
    letter_of(state="replayed")
    code, printed, _ = run("list")
    lines = printed.splitlines()
    assert (code, [line.split()[0] for line in lines]) == (0, [str(new.pk), str(old.pk)])
    assert lines[0].endswith("open       probe.echo  work-queue  exhausted  ValueError: no")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["task:probe.renamed"], {"old name", "renamed"}),
        (["queue:email-queue", "reason:expired"], {"mail"}),
        (["queue:email-queue reason:exhausted"], set()),
        (["data.customer.id:42"], {"renamed"}),
        (["--state", "discarded"], {"discarded"}),
        (["state:all", "task:probe.fail"], {"discarded"}),
        (["task:no.such"], set()),
    ],
)
def test_the_list_takes_the_query_that_every_door_takes(asked, found):
    letters = {
        "old name": letter_of(task="probe.old_name"),
        "renamed": letter_of(task="probe.renamed", payload={"customer": {"id": 42}}),
        "mail": letter_of(queue="email-queue", reason="expired"),
        "discarded": letter_of(task="probe.fail", state="discarded"),
    }
    ids = {letter["id"] for letter in run("list", "--json", *asked).data["items"]}
    assert ids == {str(letters[name].pk) for name in found}


def test_a_list_that_is_cut_says_so():
    for _ in range(3):
        letter_of()
    lines = run("list", "--limit", 2).printed.splitlines()
    assert (len(lines), lines[-1].startswith("… the newest 2 of 3")) == (3, True)
    assert len(run("list", "--limit", 3).printed.splitlines()) == 3
    assert run("list", "--limit", 2, "--json").data["count"] == {"number": 3, "is_capped": False}


def test_a_list_costs_the_same_queries_for_many_letters(django_assert_num_queries):
    for _ in range(20):
        letter_of()
    with django_assert_num_queries(2):
        run("list")


def test_no_letters_are_said_aloud_and_are_an_empty_list_to_scripts():
    assert run("list") == (0, "no dead letters\n", "")
    assert run("list", "--json").data == {"items": [], "count": {"number": 0, "is_capped": False}}


def test_a_letter_is_told_to_scripts_in_the_words_of_the_api():
    letter_of()
    (letter,) = run("list", "--json").data["items"]
    assert list(letter) == list(get_type_hints(documents.LetterOut))


def test_one_is_shown_with_all_that_is_known():
    letter = make_letter(error="no\nmore", payload={"text": "hello"})
    printed = run("show", letter.pk).printed
    for line in (
        f"id            {letter.pk}",
        "error         ValueError: no",
        "died on work-queue",
        '{"text": "hello"}',
    ):
        assert line in printed
    told = run("show", letter.pk, "--json").data
    assert (told["id"], told["error"], told["payload"]) == (str(letter.pk), "no\nmore", {"text": "hello"})


def test_bytes_that_nobody_can_read_are_shown_as_hex_once_unmasked():
    letter = make_message_letter(body=b"\xff\x00{", reason="undecodable")
    assert "ff 00" not in run("show", letter.pk).printed
    assert "ff 00 7b" in run("show", letter.pk, "--unmask", "--reason", "a new producer").printed


def test_what_is_sensitive_is_masked_until_somebody_says_why_not():
    letter = letter_of(payload={"password": "hunter22"}, error="bad password hunter22")
    for arguments in (["list"], ["list", "--json"], ["show", letter.pk], ["show", letter.pk, "--json"]):
        assert "hunter22" not in run(*arguments).printed
    assert "--reason: say why" in run("show", letter.pk, "--unmask").complaint
    assert "hunter22" in run("show", letter.pk, "--unmask", "--reason", "a customer asks", "--by", "ann").printed
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.verb, entry.reason) == ("ann", "dead_letters.unmask", "a customer asks")


def test_what_a_foreign_message_says_does_not_steer_the_terminal():
    steers = "\x1b[2J\x9b31m\u202e"
    letter = make_letter(error=f"no {steers}", payload={"text": steers})
    message = make_message_letter(
        body=f'{{"a": "{steers}"'.encode(), reason="undecodable", task="a\n0190 forged", error="no"
    )
    shown = ["show", message.pk, "--unmask", "--reason", "a new producer"]
    for arguments in (["list"], ["list", "--json"], ["show", letter.pk], ["edit", letter.pk, "--print"], shown):
        printed = run(*arguments).printed
        assert not set(steers) & set(printed) - set("[2J31m"), arguments
        assert "\\u001b" in printed
    assert len(run("list").printed.splitlines()) == 2
    assert json.loads(run("edit", letter.pk, "--print").printed)["text"] == steers
    assert steers not in run("list", f"x{steers}:1").complaint


def test_letters_are_replayed_and_the_history_says_by_whom(outbox, django_capture_on_commit_callbacks):
    letters = [make_letter(), make_letter()]
    with django_capture_on_commit_callbacks(execute=True):
        code, printed, _ = run("replay", letters[0].pk, letters[1].pk, letters[0].pk, "--by", "ann")
    assert (code, len(printed.splitlines()), len(outbox)) == (0, 2, 2)
    assert set(DeadLetter.objects.values_list("state", "replayed_by")) == {("replayed", "ann")}
    assert JobEvent.objects.filter(kind="replayed", detail__requested_by="ann").count() == 2


def test_a_letter_is_replayed_elsewhere():
    letter = make_letter()
    run("replay", letter.pk, "--queue", "priority-queue", "--task", "probe.renamed")
    assert Job.objects.values_list("queue", "task").get() == ("priority-queue", "probe.renamed")


def test_who_does_not_say_their_name_is_the_account_of_the_process(monkeypatch):
    ann = pwd.struct_passwd(("ann", "x", 7, 7, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: ann)
    run("replay", make_letter().pk)
    assert DeadLetter.objects.get().replayed_by == "command:ann"


def test_an_account_may_have_no_name(monkeypatch):
    def fail(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", fail)
    run("replay", make_letter().pk)
    assert DeadLetter.objects.get().replayed_by == f"command:{os.getuid()}"


def test_what_can_not_be_replayed_is_told_and_keeps_none_of_the_others():
    done, fine, nobody = letter_of(state="replayed"), letter_of(), uuid.uuid4()
    outcome = run("replay", done.pk, nobody, fine.pk, "--json")
    assert (outcome.code, outcome.complaint) == (1, "2 of 3 not replayed")
    assert outcome.data == [
        {"id": str(done.pk), "replayed": False, "why": "the dead letter is replayed, not open"},
        {"id": str(nobody), "replayed": False, "why": "there is no such dead letter"},
        {"id": str(fine.pk), "replayed": True, "job": str(fine.job_id)},
    ]


def test_letters_are_discarded_with_a_reason_and_restored():
    letter = letter_of()
    assert run("discard", letter.pk).complaint.startswith("--reason: say why")
    assert "discarded; can be restored until" in run("discard", letter.pk, "--reason", "test data").printed
    assert run("restore", letter.pk).printed == f"{letter.pk}  restored\n"
    assert DeadLetter.objects.get().state == "open"
    assert run("restore", letter.pk).complaint == "1 of 1 not restored"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["show", "7"], "'7' is no id of a dead letter; `dead_letters list` prints them"),
        (["show", uuid.UUID(int=7)], f"there is no dead letter {uuid.UUID(int=7)}"),
        (["group", uuid.UUID(int=7)], f"there is no failure group {uuid.UUID(int=7)}"),
        (["approve", uuid.UUID(int=7)], f"there is no edit {uuid.UUID(int=7)}"),
        (["operation", "show", uuid.UUID(int=7)], f"there is no operation {uuid.UUID(int=7)}"),
        (["redirects", "remove", "7"], "there is no redirect 7; `dead_letters redirects list` prints them"),
        (["list", "--limit", "0"], "'0' is no number from 1 to 10,000"),
        (["list", "--state", "lost"], "invalid choice: 'lost'"),
        (["list", "nope:1"], "nope: "),
        (["replay"], "the following arguments are required: id"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_remedy(arguments, complaint):
    outcome = run(*arguments)
    assert (outcome.code, complaint in outcome.complaint) == (1, True)


def test_the_help_tells_of_every_action_in_its_room(capsys):
    with pytest.raises(SystemExit):
        call_command("dead_letters", "--help")
    told = capsys.readouterr().out
    rooms = [line.strip(":") for line in told.splitlines() if line.strip(":") in ROOMS]
    assert rooms == list(ROOMS) == ["find", "understand", "repair", "many at once"]
    for actions in ROOMS.values():
        for word in actions:
            assert told.count(f"\n  {word} ") == 1


def test_a_broker_that_is_away_keeps_what_was_replayed_before_from_being_forgotten(monkeypatch):
    letters = [letter_of(), letter_of()]
    answers = iter([letters[0], BrokerUnavailable("no broker")])

    def replay(id, **_):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(replaying, "replay", replay)
    code, printed, complaint = run("replay", *(letter.pk for letter in letters))
    assert (code, complaint) == (1, "1 of 2 not replayed")
    assert printed.splitlines()[1] == f"{letters[1].pk}  not replayed: no broker"


def test_a_database_that_can_not_be_asked_has_an_exit_code_of_its_own(monkeypatch):
    def fail(*_, **__):
        raise OperationalError("refused")

    monkeypatch.setattr(replaying, "replay", fail)
    assert run("replay", uuid.uuid4()) == (2, "", "the database can not be asked: refused")


@pytest.mark.django_db(transaction=True)
def test_a_rehearsal_tells_what_a_replay_would_do_and_hides_what_is_sensitive(tmp_path):
    letter = make_letter(task="probe.secret", payload={"text": "a", "password": "hunter22"})
    code, printed, _ = run("rehearse", letter.pk)
    assert (code, "verdict       passed after" in printed, "a ••••••" in printed) == (0, True, True)
    assert (DeadLetter.objects.get().state, Job.objects.get().state) == ("open", "dead")
    file = tmp_path / "payload.json"
    file.write_text('{"text": "b", "password": "••••••"}')
    assert run("rehearse", letter.pk, "--payload", file, "--json").data["outcome"]["result"] == "b ••••••"


@pytest.mark.django_db(transaction=True)
def test_a_rehearsal_that_fails_again_is_a_complaint(tmp_path):
    letter = make_letter(task="probe.fail", payload={"how": "raise", "failures": 9})
    outcome = run("rehearse", letter.pk)
    assert (outcome.code, outcome.complaint) == (1, "the rehearsal failed: ValueError: asked to fail")
    file = tmp_path / "payload.json"
    file.write_text("[1]")
    assert "holds no JSON object" in run("rehearse", letter.pk, "--payload", file).complaint
