import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from tasks.dead_letters import groups, search
from tasks.dead_letters.groups import Status
from tasks.errors import InvalidChange
from tasks.models import AuditEntry, FailureGroup, Release
from tests.unit.tasks.factories import letter_of, make_group

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 12, 20, tzinfo=UTC)


def ago(**units: float) -> datetime:
    return NOW - timedelta(**units)


def names(**options) -> list[str]:
    return [summary.group.task for summary in groups.summaries(now=NOW, **options)]


def test_a_group_is_summed_up_from_its_letters():
    group = make_group()
    newest = letter_of(group=group, died_at=ago(minutes=5))
    letter_of(group=group, died_at=ago(minutes=59))
    letter_of(group=group, died_at=ago(minutes=61), state="replayed")
    letter_of(group=group, died_at=ago(hours=23, minutes=59), state="discarded")
    letter_of(group=group, died_at=ago(hours=25))
    letter_of(group=make_group(), died_at=ago(minutes=1))
    summary = groups.summary(group.pk, now=NOW)
    assert (str(summary.open), str(summary.total)) == ("3", "5")
    assert (summary.last_seen_at, summary.sample) == (newest.died_at, newest.pk)
    assert summary.trend == (1, *[0] * 21, 1, 2)
    assert summary.is_rising


def test_the_counts_of_a_group_stop_at_their_cap(monkeypatch):
    monkeypatch.setattr(search, "MAX_COUNTED", 2)
    group = make_group()
    for state in ("open", "open", "replayed"):
        letter_of(group=group, state=state)
    summary = groups.summary(group.pk)
    assert (str(summary.open), str(summary.total)) == ("2", "2+")


def test_a_list_takes_as_many_statements_for_many_groups_as_for_one(django_assert_num_queries):
    for _ in range(5):
        letter_of(group=make_group())
    with django_assert_num_queries(3):
        assert len(groups.summaries()) == 5


def test_a_letter_of_a_host_whose_clock_is_ahead_counts_as_one_of_now():
    group = make_group()
    letter_of(group=group, died_at=ago(minutes=-3))
    assert groups.summary(group.pk, now=NOW).trend[-1] == 1


def test_a_group_without_open_letters_shows_its_latest_of_the_others():
    group = make_group()
    letter_of(group=group, died_at=ago(hours=2), state="discarded")
    replayed = letter_of(group=group, died_at=ago(hours=3), state="replayed")
    summary = groups.summary(group.pk, now=NOW)
    assert (summary.open.number, summary.sample, summary.last_seen_at) == (0, replayed.pk, ago(hours=2))


def test_a_group_without_letters_is_empty():
    summary = groups.summary(make_group().pk, now=NOW)
    assert (summary.total.number, summary.last_seen_at, summary.sample, sum(summary.trend)) == (0, None, None, 0)


def test_the_list_has_those_that_want_somebody_latest_first():
    for name, hours, values in [
        ("old", 5, {}),
        ("new", 1, {}),
        ("asleep", 2, {"snoozed_until": ago(hours=-1)}),
        ("awake", 3, {"snoozed_until": ago(hours=1)}),
        ("fixed", 2, {"fixed_in_release": "1.2", "fixed_at": ago(hours=4)}),
        ("back", 4, {"fixed_in_release": "1.2", "fixed_at": ago(hours=9), "reopened_at": ago(hours=4)}),
    ]:
        letter_of(group=make_group(task=name, **values), died_at=ago(hours=hours))
    letter_of(group=make_group(task="done"), died_at=ago(hours=1.5), state="replayed")
    assert names() == ["new", "awake", "back", "old"]
    assert names(limit=2, offset=1) == ["awake", "back"]
    assert names(task="old") == ["old"]
    assert names(status=Status.SNOOZED) == ["asleep"]
    assert names(status=Status.FIXED) == ["fixed"]
    assert names(status=Status.REOPENED) == ["back"]
    assert names(status=Status.OPEN) == ["new", "done", "awake", "old"]
    assert [group.task for group in groups.reopened()] == ["back"]


@pytest.mark.parametrize("status", Status)
def test_the_list_agrees_with_each_groups_own_status(status):
    at = {"past": ago(hours=1), "future": ago(hours=-1), None: None}
    for snoozed in at.values():
        for release in ("", "1.2"):
            for reopened in (None, ago(hours=1)):
                make_group(
                    snoozed_until=snoozed,
                    fixed_in_release=release,
                    fixed_at=NOW,
                    reopened_at=reopened if release else None,
                )
    expected = {group.pk for group in FailureGroup.objects.all() if groups.status_of(group, NOW) == status}
    assert {summary.group.pk for summary in groups.summaries(status=status, now=NOW)} == expected
    assert expected


def test_what_people_note_is_kept_and_audited():
    group = make_group(owner="bob")
    groups.note(group.pk, requested_by="ann", note="ask the bank", runbook_url="https://wiki.test/bank")
    group.refresh_from_db()
    assert (group.owner, group.note, group.runbook_url) == ("bob", "ask the bank", "https://wiki.test/bank")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.verb, entry.subject) == ("ann", "groups.note", str(group.pk))
    assert entry.detail == {"note": "ask the bank", "runbook_url": "https://wiki.test/bank"}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"owner": "x" * 201}, "owner"),
        ({"runbook_url": "javascript:alert(1)"}, "runbook_url"),
        ({"runbook_url": "https://x.test/" + "y" * 500}, "runbook_url"),
        ({"note": "a\0b"}, "note"),
    ],
)
def test_a_note_that_can_not_be_kept_changes_nothing(values, field):
    group = make_group(owner="bob")
    with pytest.raises(InvalidChange) as caught:
        groups.note(group.pk, requested_by="ann", **{"owner": "carol", **values})
    assert [problem["field"] for problem in caught.value.problems] == [field]
    group.refresh_from_db()
    assert (group.owner, AuditEntry.objects.count()) == ("bob", 0)


def test_a_snooze_ends_by_itself_or_by_a_person():
    group = make_group()
    until = timezone.now() + timedelta(hours=1)
    assert groups.status_of(groups.snooze(group.pk, until=until, requested_by="ann"), timezone.now()) == Status.SNOOZED
    assert groups.status_of(group, until) == Status.OPEN
    groups.snooze(group.pk, until=None, requested_by="ann")
    assert FailureGroup.objects.get().snoozed_until is None
    with pytest.raises(InvalidChange, match="until: is past"):
        groups.snooze(group.pk, until=ago(hours=1), requested_by="ann")


def test_a_fix_can_be_marked_and_taken_back():
    Release.objects.create(name="1.1")
    group = make_group(reopened_at=NOW)
    groups.fix(group.pk, release=" 1.2 ", requested_by="ann")
    group.refresh_from_db()
    assert (group.fixed_in_release, group.reopened_at) == ("1.2", None)
    assert group.fixed_at is not None
    groups.fix(group.pk, release="", requested_by="ann")
    group.refresh_from_db()
    assert (group.fixed_in_release, group.fixed_at) == ("", None)
    assert list(AuditEntry.objects.values_list("verb", flat=True)) == ["groups.fix", "groups.fix"]


def test_a_fix_that_nothing_could_ever_undo_is_refused():
    with pytest.raises(InvalidChange, match="set RELEASE for the workers"):
        groups.fix(make_group().pk, release="1.2", requested_by="ann")


def test_a_group_that_does_not_exist_is_told():
    with pytest.raises(FailureGroup.DoesNotExist):
        groups.note(uuid.uuid4(), requested_by="ann", note="x")
