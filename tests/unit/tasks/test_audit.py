"""Who did what: a change to any of it shows."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, connections, transaction

from tasks import audit
from tasks.audit import NEEDS_REASON, Fault, digest_of, faults, record, require_reason
from tasks.errors import AppendOnly, InvalidReason
from tasks.models import AuditEntry
from tasks.permissions import RIGHTS

pytestmark = pytest.mark.django_db

on_postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer, and no trigger")


@pytest.fixture
def trail() -> list[AuditEntry]:
    """Five entries."""
    return [record("ann", "dead_letters.replay", uuid4(), detail={"queue": "work-queue"}) for _ in range(5)]


@pytest.fixture
def sql(db) -> Callable[..., None]:
    """What somebody does who has the database and means it: on PostgreSQL the trigger has to go first."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE tasks_auditentry DISABLE TRIGGER tasks_auditentry_append_only")

    def execute(statement: str, *values: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)

    return execute


def seal(entry: AuditEntry, sql: Callable[..., None]) -> None:
    """Give ``entry`` the digest that its row asks for now."""
    entry.refresh_from_db()
    sql("UPDATE tasks_auditentry SET digest = %s WHERE id = %s", digest_of(entry), entry.id)


# Appending


def test_entries_are_numbered_and_follow_each_other(trail):
    assert [entry.id for entry in trail] == [1, 2, 3, 4, 5]
    assert [entry.previous for entry in trail] == ["", *(entry.digest for entry in trail[:-1])]
    assert list(faults()) == []


def test_an_act_that_is_taken_back_leaves_no_entry_and_no_gap(trail):
    with transaction.atomic():
        record("ann", "dead_letters.replay", "x")
        transaction.set_rollback(True)
    assert record("bob", "dead_letters.replay", "x").id == 6
    assert list(faults()) == []


@pytest.mark.parametrize(
    "detail",
    [
        {"at": datetime(2026, 1, 1, tzinfo=UTC), "id": uuid4()},
        {"ratio": 0.2, "whole": 1.0, "negative": -0.0, "tiny": 1e-7, "large": 1e22, "none": float("nan")},
        {"count": 2**70, 1: None, "list": [[1.5e300, {"deep": -1e-300}]]},
        {"text": "ü\0\ud800", "\0": "key"},
    ],
    ids=["objects", "numbers", "larger numbers", "text"],
)
def test_an_entry_reads_as_it_was_written_whatever_it_says(detail):
    entry = record("a\0\udfff", "dead_letters.edit", "s\0" * 200, reason=" why\0 ", detail=detail)
    kept = AuditEntry.objects.get()
    assert kept.detail == entry.detail
    assert (kept.actor, kept.reason, len(kept.subject)) == ("a\\0\\udfff", "why\\0", 200)
    assert list(faults()) == []


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_concurrent_appends_keep_one_chain():
    def append(name: str) -> None:
        try:
            for number in range(20):
                with transaction.atomic():
                    record(name, "dead_letters.replay", number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(append, "abcdefgh"))
    assert AuditEntry.objects.count() == 160
    assert list(faults()) == []


# Never changed


def test_no_entry_is_changed_or_deleted_by_way_of_the_models(trail):
    entry = trail[2]
    entry.actor = "bob"
    for attempt in (
        entry.save,
        entry.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(actor="bob"),
        lambda: AuditEntry.objects.filter(id=3).update(actor="bob"),
        lambda: AuditEntry.objects.bulk_update([entry], ["actor"]),
        lambda: AuditEntry.objects.update_or_create(id=3, defaults={"actor": "bob"}),
    ):
        with pytest.raises(AppendOnly, match="never changed or deleted"), transaction.atomic():
            attempt()
    assert AuditEntry.objects.filter(actor="ann").count() == 5


def test_a_new_entry_does_not_take_the_number_of_another(trail):
    with pytest.raises(IntegrityError), transaction.atomic():
        AuditEntry(id=3, at=trail[0].at, actor="bob", verb="x", subject="y", digest="0").save()
    assert AuditEntry.objects.filter(actor="ann").count() == 5


@on_postgresql
@pytest.mark.parametrize("statement", ["UPDATE tasks_auditentry SET actor = 'bob'", "DELETE FROM tasks_auditentry"])
def test_postgresql_refuses_what_goes_past_the_models(trail, statement):
    refused = pytest.raises(IntegrityError, match="never changed or deleted")
    with refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEntry.objects.filter(actor="ann").count() == 5


# Verifying


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", "2020-01-01 00:00:00"),
        ("actor", "bob"),
        ("verb", "dead_letters.edit"),
        ("subject", "another"),
        ("count", 2),
        ("reason", "because"),
        ("detail", "{}"),
        ("previous", "0" * 64),
        ("previous", ""),
        ("digest", "0" * 64),
    ],
)
@pytest.mark.parametrize("number", [1, 3, 5])
def test_one_altered_column_of_a_row_is_named_with_its_row_alone(trail, sql, column, value, number):
    if (column, value, number) == ("previous", "", 1):
        value = trail[0].digest
    sql(f"UPDATE tasks_auditentry SET {column} = %s WHERE id = %s", value, number)
    assert list(faults()) == [Fault(number, "was altered: it does not fit its digest")]


def test_an_entry_with_another_number_is_altered_and_missed(trail, sql):
    sql("UPDATE tasks_auditentry SET id = 9 WHERE id = 3")
    assert list(faults()) == [
        Fault(3, "is missing"),
        Fault(6, "is missing, and so is every entry up to 8"),
        Fault(9, "was altered: it does not fit its digest"),
    ]


@pytest.mark.parametrize("number", [0, -7])
def test_an_entry_before_the_first_is_altered(trail, sql, number):
    sql("UPDATE tasks_auditentry SET id = %s WHERE id = 5", number)
    assert list(faults()) == [Fault(number, "was altered: it does not fit its digest")]


@pytest.mark.parametrize("number", [1, 2, 4])
def test_an_entry_altered_together_with_its_digest_is_named_by_its_neighbour(trail, sql, number):
    sql("UPDATE tasks_auditentry SET actor = 'bob' WHERE id = %s", number)
    seal(trail[number - 1], sql)
    assert list(faults()) == [Fault(number, "was altered, and its digest with it: its neighbour does not fit")]


def test_two_altered_neighbours_are_both_named(trail, sql):
    sql("UPDATE tasks_auditentry SET actor = 'bob' WHERE id IN (2, 3)")
    assert [fault.entry for fault in faults()] == [2, 3]


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE tasks_auditentry SET actor = 'bob' WHERE id = 4", Fault(4, "was altered: it does not fit its digest")),
        ("DELETE FROM tasks_auditentry WHERE id = 4", Fault(4, "is missing")),
        ("DELETE FROM tasks_auditentry WHERE id = 2", Fault(2, "is missing")),
        ("DELETE FROM tasks_auditentry WHERE id IN (1, 2)", Fault(1, "is missing, and so is every entry up to 2")),
    ],
)
def test_a_part_of_the_trail_is_verified_by_itself(trail, sql, statement, what):
    assert list(faults(first=3)) == []
    sql(statement)
    assert list(faults(first=3)) == [what]


def test_what_is_before_the_part_is_not_verified_but_for_the_entry_before_it(trail, sql):
    sql("UPDATE tasks_auditentry SET actor = 'bob' WHERE id = 1")
    assert list(faults(first=3)) == []
    sql("UPDATE tasks_auditentry SET actor = 'bob' WHERE id = 2")
    seal(trail[1], sql)
    assert [fault.entry for fault in faults(first=3)] == [2]


@pytest.mark.parametrize(
    ("gone", "what"),
    [((3,), "is missing"), ((2, 3, 4), "is missing, and so is every entry up to 4"), ((1,), "is missing")],
)
def test_a_removed_entry_is_missed(trail, sql, gone, what):
    sql(f"DELETE FROM tasks_auditentry WHERE id IN ({', '.join(map(str, gone))})")
    assert list(faults()) == [Fault(gone[0], what)]


def test_an_entry_put_in_the_middle_pushes_others_out_of_their_numbers(trail, sql):
    for number in (5, 4, 3):
        sql("UPDATE tasks_auditentry SET id = %s WHERE id = %s", number + 1, number)
    forged = AuditEntry(id=3, at=trail[2].at, actor="bob", verb="x", subject="y", previous=trail[1].digest)
    forged.digest = digest_of(forged)
    forged.save(force_insert=True)
    assert {4, 5, 6} <= {fault.entry for fault in faults()}


def test_an_entry_put_in_at_the_end_without_its_digest_is_named(trail):
    AuditEntry(id=6, at=trail[0].at, actor="bob", verb="x", subject="y", previous=trail[4].digest, digest="0").save()
    assert [fault.entry for fault in faults()] == [6]


def test_only_a_digest_kept_elsewhere_tells_of_a_trail_that_was_cut_off(trail, sql):
    sql("DELETE FROM tasks_auditentry WHERE id > 3")
    assert list(faults()) == []
    assert (audit.stands(trail[2].digest), audit.stands(trail[4].digest)) == (True, False)


# Reasons


@pytest.mark.parametrize(("verb", "count"), NEEDS_REASON.items())
@pytest.mark.parametrize("reason", ["", "  \n"])
def test_nobody_destroys_without_a_reason(verb, count, reason):
    with pytest.raises(InvalidReason) as refused:
        record("ann", verb, "x", count=count, reason=reason)
    assert refused.value.problems == [
        {"field": "reason", "message": f"say why: nobody may {RIGHTS[verb].words} without a reason"}
    ]
    assert not AuditEntry.objects.exists()
    record("ann", verb, "x", count=count, reason="it was a test")


def test_to_cancel_one_job_takes_no_reason():
    require_reason("jobs.cancel", "")
    with pytest.raises(InvalidReason):
        require_reason("jobs.cancel", "", count=2)


def test_what_destroys_nothing_takes_no_reason():
    for verb in RIGHTS.keys() - NEEDS_REASON.keys():
        require_reason(verb, "", count=1000)


def test_a_reason_that_is_too_long_is_refused_and_not_cut():
    with pytest.raises(InvalidReason, match="has 501 characters and may have 500"):
        record("ann", "dead_letters.replay", "x", reason="x" * 501)
    assert record("ann", "dead_letters.replay", "x", reason="x" * 500).reason == "x" * 500
