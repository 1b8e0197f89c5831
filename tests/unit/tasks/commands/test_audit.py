"""manage.py audit, as a person and a script read it."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from tasks import audit
from tasks.audit import record
from tasks.models import AuditEntry

pytestmark = pytest.mark.django_db


def run(*arguments):
    """Its exit code, what it printed and what it complained of."""
    out = StringIO()
    try:
        call_command("audit", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    return 0, out.getvalue(), ""


def alter(number):
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE tasks_auditentry DISABLE TRIGGER tasks_auditentry_append_only")
        cursor.execute("UPDATE tasks_auditentry SET actor = 'eve' WHERE id = %s", [number])


@pytest.fixture
def trail():
    record("ann", "dead_letters.replay", "letter 1")
    record("bob", "dead_letters.discard", "task:mail.send", count=1200, reason="a test run")
    return record("ann", "queues.purge", "work-queue", reason="wrong tenant")


def test_a_sound_trail_is_counted_and_its_last_digest_printed(trail):
    assert run("verify") == (0, f"3 entries, all as they were written. Last digest: {trail.digest}\n", "")


def test_an_empty_trail_is_sound():
    assert run("verify") == (0, "0 entries, all as they were written. Last digest: none\n", "")


def test_altering_one_row_is_named(trail):
    alter(2)
    assert run("verify") == (
        1,
        "entry 2 was altered: it does not fit its digest\n",
        "entry 2 of the audit trail can not be trusted",
    )


def test_scripts_are_told_the_same(trail):
    assert json.loads(run("verify", "--json")[1]) == {"entries": 3, "last_digest": trail.digest, "faults": []}
    alter(1)
    alter(3)
    code, printed, complaint = run("verify", "--json")
    assert (code, complaint) == (1, "2 entries of the audit trail can not be trusted")
    assert [fault["entry"] for fault in json.loads(printed)["faults"]] == [1, 3]


def test_a_digest_from_earlier_must_still_be_there(trail):
    assert run("verify", "--contains", trail.digest)[0] == 0
    code, _, complaint = run("verify", "--contains", "0" * 64)
    assert (code, complaint.startswith("no entry has the digest 000")) == (1, True)
    assert json.loads(run("verify", "--contains", "0" * 64, "--json")[1])["contains"] is False


def test_the_newest_are_listed_first_in_words(trail):
    lines = run("list")[1].splitlines()
    assert [line.split("  ")[-1] for line in lines] == ["“wrong tenant”", "“a test run”", "letter 1"]
    assert "bob  dead_letters.discard  task:mail.send (1,200)" in lines[1]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (["--actor", "ann"], [3, 1]),
        (["--verb", "dead_letters.discard"], [2]),
        (["--actor", "ann", "--verb", "queues.purge"], [3]),
        (["--since", "2h"], [3, 2, 1]),
        (["--since", "2200-01-01"], []),
        (["--limit", "1"], [3]),
        (["--actor", "nobody"], []),
    ],
)
def test_the_list_is_filtered(trail, filters, ids):
    assert [entry["id"] for entry in json.loads(run("list", "--json", *filters)[1])] == ids


def test_json_tells_all_of_an_entry(trail):
    (entry,) = json.loads(run("list", "--json", "--limit", "1")[1])
    kept = AuditEntry.objects.get(id=3)
    assert entry == {
        "at": kept.at.isoformat(),
        "id": 3,
        "actor": "ann",
        "verb": "queues.purge",
        "subject": "work-queue",
        "count": 1,
        "reason": "wrong tenant",
        "detail": {},
        "digest": kept.digest,
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--since", "yesterday"], "'yesterday' is no moment; write 2026-03-01"),
        (["--verb", "dead_letters.eat"], "invalid choice"),
        (["--limit", "0"], "--limit is at least 1"),
    ],
)
def test_a_bad_filter_is_refused(arguments, complaint):
    code, _, told = run("list", *arguments)
    assert code != 0
    assert complaint in told


def test_a_database_that_can_not_be_read_is_no_answer(monkeypatch):
    def away():
        raise OperationalError("connection refused")

    monkeypatch.setattr(audit, "faults", away)
    assert run("verify") == (2, "", "the database can not be read: connection refused")
