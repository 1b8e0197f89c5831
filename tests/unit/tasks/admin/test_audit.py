"""The audit trail in the console."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from tasks import audit
from tasks.admin import audit as page
from tasks.audit import record
from tasks.models import AuditEntry
from tasks.permissions import RIGHTS
from tests.unit.tasks.admin.conftest import staff

pytestmark = pytest.mark.django_db

LIST = "/admin/tasks/auditentry/"


def listed(response: Any) -> list[int]:
    return [entry.pk for entry in response.context["cl"].result_list]


def alter(statement: str) -> None:
    """What somebody does who has the database and means it."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE tasks_auditentry DISABLE TRIGGER tasks_auditentry_append_only")
        cursor.execute(statement)


def entry_at(day: int, **values: Any) -> AuditEntry:
    last = AuditEntry.objects.order_by("-id").first()
    entry = AuditEntry(
        **{
            "id": last.id + 1 if last else 1, "at": datetime(2026, 3, day, 12, tzinfo=UTC), "actor": "ada",
            "verb": "dead_letters.replay", "subject": "x", "previous": last.digest if last else "", **values,
        }
    )  # fmt: skip
    entry.digest = audit.digest_of(entry)
    entry.save()
    return entry


@pytest.fixture
def trail() -> list[AuditEntry]:
    return [
        record("ada", "dead_letters.discard", uuid4(), reason="of the old shop"),
        record("ben", "queues.purge", "email-queue", count=40, reason="sent twice", detail={"operation": uuid4()}),
        record("ada", "jobs.cancel", f"job {uuid4()}"),
    ]


def test_the_newest_entries_come_first_in_words(admin_client, trail):
    response = admin_client.get(LIST)
    assert listed(response) == [3, 2, 1]
    text = response.content.decode()
    assert f"newest {page.VERIFIED:,}" in text
    for piece in ("Discard dead letters", "Purge queues", "Cancel jobs", "of the old shop", "40", "email-queue"):
        assert piece in text, piece


def test_the_list_costs_the_same_queries_for_many_entries(admin_client, django_assert_max_num_queries):
    for number in range(30):
        record("ada", "dead_letters.replay", number)
    with django_assert_max_num_queries(6):
        admin_client.get(LIST)


def test_entries_are_found_by_verb_person_words_and_days(admin_client, trail):
    assert listed(admin_client.get(LIST, {"verb": "jobs.cancel"})) == [3]
    assert listed(admin_client.get(LIST, {"q": "BEN"})) == [2]
    assert listed(admin_client.get(LIST, {"q": "old shop"})) == [1]
    assert listed(admin_client.get(LIST, {"q": "ada", "verb": "dead_letters.discard"})) == [1]
    assert listed(admin_client.get(LIST, {"created_to": "2020-01-01"})) == []


def test_days_are_whole_days_of_utc(admin_client):
    for day in (1, 2, 3):
        entry_at(day)
    assert listed(admin_client.get(LIST, {"created_from": "2026-03-02"})) == [3, 2]
    assert listed(admin_client.get(LIST, {"created_to": "2026-03-02"})) == [2, 1]
    days = {"created_from": "2026-03-02", "created_to": "2026-03-02"}
    assert listed(admin_client.get(LIST, days)) == [2]
    assert listed(admin_client.get(LIST, {"created_from": "2026-02-30"})) == [3, 2, 1]


def test_a_search_reads_the_newest_unless_days_bound_it(admin_client, monkeypatch):
    monkeypatch.setattr(page, "NEWEST", 2)
    for day in (1, 2, 3, 4):
        entry_at(day)
    assert listed(admin_client.get(LIST, {"q": "ada"})) == [4, 3]
    assert listed(admin_client.get(LIST, {"q": "ada", "created_to": "2026-03-03"})) == [3, 2]
    assert listed(admin_client.get(LIST, {"q": "ada", "created_from": "2026-03-01"})) == [4, 3, 2, 1]
    assert listed(admin_client.get(LIST)) == [4, 3, 2, 1]


@pytest.mark.parametrize(
    ("verb", "subject", "detail", "link"),
    [
        ("dead_letters.edit", "{id}", {}, "/admin/tasks/deadletter/{id}/change/"),
        ("operations.pause", "{id}", {}, "/admin/tasks/operation/{id}/change/"),
        ("operations.start", "task:x", {"operation": "{id}"}, "/admin/tasks/operation/{id}/change/"),
        ("operations.start", "", {"operation": "{id}"}, "/admin/tasks/operation/{id}/change/"),
        ("jobs.cancel", "job {id}", {}, "/admin/tasks/job/{id}/change/"),
        ("dead_letters.replay", "job {id}", {}, "/admin/tasks/job/{id}/change/"),
    ],
)
def test_what_it_was_done_to_is_a_link_where_it_has_a_page(db, verb, subject, detail, link):
    id = str(uuid4())
    named = {name: value.format(id=id) for name, value in detail.items()}
    entry = record("ada", verb, subject.format(id=id), reason="why", detail=named)
    assert f'href="{link.format(id=id)}"' in page.subject(entry)


@pytest.mark.parametrize("subject", ["<b>task:x</b>", "job <script>", "queue a → queue b", ""])
def test_what_it_was_done_to_is_text_where_it_has_none(db, subject):
    shown = page.subject(record("ada", "dead_letters.redirect", subject))
    assert "href" not in shown
    assert "<b>" not in shown
    assert "<script>" not in shown


def test_every_verb_that_is_recorded_can_be_asked_for(admin_client):
    for verb in RIGHTS:
        record("ada", verb, "x", reason="why")
    offered = {verb for verb, _ in page.VerbFilter.lookups(None, None, None)}  # type: ignore[arg-type]
    never = {verb for verb in RIGHTS if verb.endswith((".view", ".enqueue", ".rehearse"))}
    assert offered == set(RIGHTS) - never
    assert admin_client.get(LIST).status_code == 200


def test_an_entry_has_a_page_with_its_detail_and_its_place_in_the_chain(admin_client, trail):
    text = admin_client.get(f"{LIST}2/change/").content.decode()
    for piece in (trail[1].digest, trail[0].digest, "sent twice", "It fits its digest", f"{LIST}1/change/",
                  f"{LIST}3/change/", "&quot;operation&quot;"):  # fmt: skip
        assert piece in text, piece
    assert "does not" not in text
    assert "none: it is the first" in admin_client.get(f"{LIST}1/change/").content.decode()


def test_an_altered_entry_says_so_on_its_page(admin_client, trail):
    alter("UPDATE tasks_auditentry SET actor = 'bob' WHERE id = 2")
    assert "It was altered" in admin_client.get(f"{LIST}2/change/").content.decode()
    alter("DELETE FROM tasks_auditentry WHERE id = 2")
    assert "It does not follow the entry before it" in admin_client.get(f"{LIST}3/change/").content.decode()


def test_the_chain_is_verified(admin_client, trail):
    text = admin_client.post(f"{LIST}verify/", follow=True).content.decode()
    assert "Entries 1 to 3 are as they were written" in text
    assert trail[2].digest in text
    alter("UPDATE tasks_auditentry SET reason = 'none' WHERE id = 2")
    text = admin_client.post(f"{LIST}verify/", follow=True).content.decode()
    assert "can not be trusted: entry 2 was altered" in text


def test_of_a_long_trail_the_newest_part_is_verified_and_that_is_said(admin_client, trail, monkeypatch):
    monkeypatch.setattr(page, "VERIFIED", 2)
    alter("UPDATE tasks_auditentry SET actor = 'bob' WHERE id = 1")
    text = admin_client.post(f"{LIST}verify/", follow=True).content.decode()
    assert "Entries 2 to 3 are as they were written" in text
    assert "Those before 2 were not read" in text


def test_an_empty_trail_is_verified_too(admin_client):
    assert "There is no entry yet" in admin_client.post(f"{LIST}verify/", follow=True).content.decode()


def test_only_who_may_see_the_trail_does_and_nobody_changes_it(admin_client, trail, viewer):
    assert viewer.get(LIST).status_code == 403
    assert viewer.post(f"{LIST}verify/").status_code == 403
    assert admin_client.get(f"{LIST}verify/").status_code == 405
    assert staff("eve", "tasks.view_auditentry").get(LIST).status_code == 200
    admin_client.post(f"{LIST}2/change/", {"actor": "bob"})
    admin_client.post(f"{LIST}2/delete/", {"post": "yes"})
    assert AuditEntry.objects.get(pk=2).actor == "ben"
