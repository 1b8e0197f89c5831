import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import insertion
from tasks.insertion import NewJob, insert, insert_rows
from tasks.models import Batch, Job, JobEvent
from tests.unit.tasks.factories import kinds

pytestmark = pytest.mark.django_db

SOON = datetime.now(UTC) + timedelta(days=1)
ODD = 'tab\t, line\n, return\r, \\N, \\t, "quoted", ü, 😀'

WAYS = [insertion._by_the_orm]
if connection.vendor == "postgresql":
    WAYS += [insertion._by_one_statement, insertion._by_copy]

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)


def new_job(**values: Any) -> NewJob:
    return NewJob(
        **{"task": "probe.echo", "queue": "work-queue", "priority": "normal", "payload": '{"text": "x"}', **values}
    )


def as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def stored(new: NewJob) -> dict[str, Any]:
    """The row and its event, without what is of one row alone."""
    row = Job.objects.values().get(pk=new.id)
    event = JobEvent.objects.values().get(job=new.id)
    for values, names in ((row, ("id", "created_at", "queued_at")), (event, ("id", "job_id", "at"))):
        for name in names:
            values.pop(name)
    return row | {"event": event}


@pytest.mark.parametrize("way", WAYS)
@given(payload=st.dictionaries(text, json_value, max_size=4), words=text, key=st.none() | st.just("k") | text)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_way_keeps_what_it_was_given(way, payload, words, key):
    new = new_job(
        payload=as_text(payload),
        metadata=as_text({"words": words}),
        correlation_id=words,
        requested_by=words,
        idempotency_key=key or None,
    )
    with transaction.atomic():
        way([new])
        row = Job.objects.get(pk=new.id)
        transaction.set_rollback(True)
    assert (row.payload, row.metadata) == (payload, {"words": words})
    assert (row.correlation_id, row.requested_by, row.idempotency_key) == (words, words, key or None)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"due_at": SOON},
        {"due_at": SOON.replace(microsecond=0)},
        {"due_at": SOON.replace(microsecond=120)},
        {"due_at": SOON, "expires_at": SOON + timedelta(seconds=1)},
        {"correlation_id": ODD, "requested_by": ODD, "payload": as_text({"text": ODD}), "metadata": as_text({ODD: 1})},
        {"priority": "high", "queue": "priority-queue"},
    ],
)
def test_every_way_makes_the_same_row_and_event(values):
    batch = Batch.objects.create()
    made = [new_job(**values, batch_id=batch.pk) for _ in WAYS]
    for way, new in zip(WAYS, made, strict=True):
        way([new])
    first, *others = [stored(new) for new in made]
    assert others == [first for _ in others]


@pytest.mark.parametrize("way", WAYS)
def test_a_delay_counts_from_the_databases_clock(way):
    new = new_job(delay_seconds=90.5)
    at = way([new])[new.id]
    job = Job.objects.get(pk=new.id)
    assert (job.created_at, job.queued_at, job.due_at) == at
    assert abs(job.due_at - job.created_at - timedelta(seconds=90.5)) < timedelta(seconds=1)
    assert datetime.fromisoformat(job.events.get().detail["due_at"]) == job.due_at


@pytest.mark.parametrize("values", [{}, {"delay_seconds": 5}, {"due_at": SOON, "idempotency_key": "k"}])
def test_what_is_returned_is_the_row(values):
    (job,) = insert([new_job(**values)])
    row = Job.objects.get(pk=job.pk)
    for column in Job._meta.concrete_fields:
        assert getattr(job, column.attname) == getattr(row, column.attname), column.attname
    job.correlation_id = "changed"
    job.save()  # an update, and of no other row
    assert Job.objects.get().correlation_id == "changed"


@pytest.mark.parametrize("count", [1, insertion.COPY_FROM])
def test_any_number_is_inserted_with_an_event_each(count):
    jobs = insert([new_job() for _ in range(count)])
    assert Job.objects.count() == count
    assert {tuple(kinds(job)) for job in jobs} == {("queued",)}


def test_of_one_key_the_first_is_kept_and_the_others_are_led_to_it():
    first, second = new_job(idempotency_key="k"), new_job(idempotency_key="k")
    other_task, keyless = new_job(idempotency_key="k", task="probe.fail"), new_job()
    jobs = insert([first, other_task, second, keyless])
    assert [job.id for job in jobs] == [first.id, other_task.id, first.id, keyless.id]
    (again,) = insert([replace(new_job(), idempotency_key="k")])
    assert again.id == first.id
    assert JobEvent.objects.count() == 3


def test_keys_keep_many_from_being_copied():
    many = [new_job(idempotency_key=f"k{n % 10}") for n in range(insertion.COPY_FROM)]
    assert len(insert_rows(many)) == 10
