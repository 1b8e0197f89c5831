"""manage.py dead_letters groups|group|redirects"""

from datetime import timedelta

import pytest
from django.utils import timezone

from tasks.models import AuditEntry, FailureGroup, Redirect, Release
from tests.unit.tasks.commands.terminal import run
from tests.unit.tasks.factories import letter_of, make_group

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]


def test_groups_are_listed_with_how_many_are_open():
    group = make_group(message="order <number>")
    letter_of(group=group)
    letter_of(group=group, state="replayed")
    (line,) = run("groups").printed.splitlines()
    assert (line.split()[0], line.endswith("1 open of 2  probe.echo  ValueError: order <number>")) == (
        str(group.pk),
        True,
    )
    assert run("groups", "--status", "snoozed").printed == "no failure groups\n"
    (told,) = run("groups", "--json").data
    assert (told["open"], len(told["trend"])) == ({"number": 1, "is_capped": False}, 24)


def test_a_group_is_noted_snoozed_and_marked_as_fixed_and_an_empty_text_clears():
    Release.objects.create(name="1.4")
    group = make_group()
    letter_of(group=group)
    address = "https://wiki.example/7"
    written = run(
        "group", group.pk, "--owner", "ann", "--runbook", address, "--snooze", "2h", "--json", "--by", "ann"
    ).data
    assert (written["owner"], written["runbook_url"], written["status"]) == ("ann", address, "snoozed")
    until = FailureGroup.objects.get().snoozed_until
    assert timedelta(minutes=119) < until - timezone.now() < timedelta(minutes=121)
    cleared = run("group", group.pk, "--snooze", "", "--owner", "", "--fixed-in", "1.5").printed
    assert ("status            Fixed" in cleared, "owner" in cleared, address in cleared) == (True, False, True)
    assert set(AuditEntry.objects.filter(actor="ann").values_list("verb", flat=True)) == {
        "groups.note",
        "groups.snooze",
    }


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--runbook", "wiki"], "--runbook: is no address"),
        (["--snooze", "soon"], "is no moment; write"),
        (["--snooze", "2020-01-01"], "--snooze: is past"),
        (["--fixed-in", "1.5"], "--fixed-in: can not be told from others: set RELEASE"),
    ],
)
def test_of_a_change_that_is_partly_wrong_nothing_is_kept(options, complaint):
    group = make_group()
    assert complaint in run("group", group.pk, "--owner", "ann", *options).complaint
    assert FailureGroup.objects.get().owner == ""


def test_redirects_are_added_listed_and_removed():
    assert run("redirects", "list").printed == "no redirects\n"
    asked = ["--from-queue", "work-queue", "--to-queue", "priority-queue", "--reason", "it is full", "--by", "ann"]
    assert run("redirects", "add", *asked).printed.endswith("work-queue -> priority-queue  by ann: it is full\n")
    assert run("redirects", "add", *asked).complaint.startswith("--from-queue: is redirected already")
    (redirect,) = run("redirects", "list", "--json").data
    assert run("redirects", "remove", redirect["id"]).code == 0
    assert not Redirect.objects.exists()
    assert run("redirects", "add", "--from-task", "a", "--to-task", "nope").complaint.startswith("--to-task: no task")
