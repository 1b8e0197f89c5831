"""manage.py dead_letters, as a person and a script read it."""

import json
import uuid
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from tasks.dead_letters import replaying
from tasks.errors import BrokerUnavailable
from tasks.models import DeadLetter, JobEvent
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db


def run(*arguments):
    """Its exit code, what it printed and what it complained of."""
    out = StringIO()
    try:
        call_command("dead_letters", *map(str, arguments), stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    return 0, out.getvalue(), ""


def make_letter(**values):
    job = make_job("dead", task=values.get("task", "probe.echo"))
    given = {"job": job, "attempt": 1, "reason": "exhausted", "task": job.task, "queue": job.queue}
    return DeadLetter.objects.create(**given | {"error_type": "ValueError", "error": "no\nmore"} | values)


def test_open_letters_are_listed_newest_first():
    old, new = make_letter(), make_letter()
    make_letter(state="replayed")
    code, printed, _ = run("list")
    lines = printed.splitlines()
    assert (code, [line.split()[0] for line in lines]) == (0, [str(new.pk), str(old.pk)])
    assert lines[0].endswith("open       probe.echo  work-queue  exhausted  ValueError: no")


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["--task", "probe.renamed"], {"old name", "renamed"}),
        (["--queue", "email-queue"], {"mail"}),
        (["--reason", "expired"], {"mail"}),
        (["--state", "discarded"], {"discarded"}),
        (["--state", "all", "--task", "probe.fail"], {"discarded"}),
        (["--task", "no.such"], set()),
    ],
)
def test_the_list_is_filtered(filters, found):
    letters = {
        "old name": make_letter(task="probe.old_name"),
        "renamed": make_letter(task="probe.renamed"),
        "mail": make_letter(queue="email-queue", reason="expired"),
        "discarded": make_letter(task="probe.fail", state="discarded"),
    }
    ids = {letter["id"] for letter in json.loads(run("list", "--json", *filters)[1])}
    assert ids == {str(letters[name].pk) for name in found}


def test_a_list_that_is_cut_says_so():
    for _ in range(3):
        make_letter()
    lines = run("list", "--limit", 2)[1].splitlines()
    assert (len(lines), lines[-1].startswith("… and more")) == (3, True)
    assert len(run("list", "--limit", 3)[1].splitlines()) == 3


def test_no_letters_are_said_aloud_and_are_an_empty_list_to_scripts():
    assert run("list") == (0, "no dead letters\n", "")
    assert run("list", "--json") == (0, "[]\n", "")


def test_one_is_shown_with_its_cause():
    letter = make_letter(traceback="Traceback:\n  line", headers={"task": "probe.echo"}, body=b"[[], {}, {}]")
    printed = run("show", letter.pk)[1]
    for line in (f"id           {letter.pk}", "error        no\n             more", "body bytes   12", "  line"):
        assert line in printed
    assert "replayed at" not in printed
    told = json.loads(run("show", letter.pk, "--json")[1])
    assert (told["headers"], told["replayed_at"], told["error"]) == ({"task": "probe.echo"}, None, "no\nmore")


def test_a_payload_that_may_be_sensitive_is_not_printed():
    letter = make_letter(payload={"text": "secret"})
    assert "secret" not in run("show", letter.pk)[1] + run("show", letter.pk, "--json")[1]


def test_letters_are_replayed_and_the_history_says_by_whom(outbox, django_capture_on_commit_callbacks):
    letters = [make_letter(), make_letter()]
    with django_capture_on_commit_callbacks(execute=True):
        code, printed, _ = run("replay", letters[0].pk, letters[1].pk, letters[0].pk, "--by", "ann")
    assert (code, len(printed.splitlines()), len(outbox)) == (0, 2, 2)
    assert set(DeadLetter.objects.values_list("state", "replayed_by")) == {("replayed", "ann")}
    assert JobEvent.objects.filter(kind="replayed", detail__requested_by="ann").count() == 2


def test_who_does_not_say_their_name_is_the_commands_user(outbox, monkeypatch):
    monkeypatch.setenv("LOGNAME", "root")
    run("replay", make_letter().pk)
    assert DeadLetter.objects.get().replayed_by == "command:root"


def test_what_can_not_be_replayed_is_told_and_keeps_none_of_the_others(outbox):
    done, fine, nobody = make_letter(state="replayed"), make_letter(), uuid.uuid4()
    code, printed, complaint = run("replay", done.pk, nobody, fine.pk, "--json")
    assert (code, complaint) == (1, "2 of 3 not replayed")
    assert json.loads(printed) == [
        {"id": str(done.pk), "replayed": False, "why": "the dead letter is replayed, not open"},
        {"id": str(nobody), "replayed": False, "why": "there is no such dead letter"},
        {"id": str(fine.pk), "replayed": True, "job": str(fine.job_id)},
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["show", "7"], "'7' is no id of a dead letter"),
        (["show", uuid.UUID(int=7)], f"there is no dead letter {uuid.UUID(int=7)}"),
        (["list", "--limit", "0"], "--limit is at least 1"),
        (["list", "--state", "lost"], "invalid choice: 'lost'"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_remedy(arguments, complaint):
    code, _, told = run(*arguments)
    assert (code, complaint in told) == (1, True)


def test_a_broker_that_is_away_keeps_what_was_replayed_before_from_being_forgotten(monkeypatch):
    letters = [make_letter(), make_letter()]
    answers = iter([letters[0], BrokerUnavailable("no broker")])

    def replay(id, *, requested_by):
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
