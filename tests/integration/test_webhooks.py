"""Events whose transactions commit in another order than they took their numbers."""

from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection

from tasks import history
from tasks.models import Batch, Job, WebhookCursor, WebhookDelivery, WebhookEndpoint
from tasks.states import JobState
from tasks.transitions import change
from tasks.webhooks import outbox
from tests.unit.tasks.factories import make_job

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer"),
    pytest.mark.usefixtures("outbox"),
]


@pytest.fixture
def other() -> Iterator[psycopg.Connection]:
    """Another process's connection, in a transaction until it commits."""
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": psycopg.Cursor}) as other:
        yield other


@pytest.fixture
def endpoint() -> WebhookEndpoint:
    events = WebhookEndpoint.Event.values
    return WebhookEndpoint.objects.create(url="https://example.com/", events=events, created_by="ann")


def succeed(job: Job) -> None:
    """In a transaction that is over at once."""
    assert change(job.pk, source=JobState.RUNNING, target=JobState.SUCCEEDED)


def end(job: Job, by: psycopg.Connection) -> None:
    """Record a success as the workers do: the row, then its event, in one transaction that stays open."""
    by.execute("UPDATE tasks_job SET state = 'succeeded', finished_at = now() WHERE id = %s", [job.pk])
    by.execute(
        "INSERT INTO tasks_jobevent (job_id, kind, attempt, at, detail) VALUES (%s, 'succeeded', 1, now(), '{}')",
        [job.pk],
    )


def told() -> list[str]:
    """The jobs, and batches, that deliveries are about."""
    return [each.job.metadata["about"] for each in WebhookDelivery.objects.order_by("id").select_related("job")]


def test_an_outcome_that_commits_after_a_later_one_is_told(endpoint, other):
    slow, quick = make_job("running"), make_job("running")
    end(slow, other)
    succeed(quick)
    for _ in range(3):
        outbox.advance()
    assert told() == [str(quick.pk)]  # at once
    cursor = WebhookCursor.objects.get()
    assert cursor.settled_to < cursor.read_to
    other.commit()
    for _ in range(5):
        outbox.advance()
    assert told() == [str(quick.pk), str(slow.pk)]
    cursor.refresh_from_db()
    assert cursor.settled_to == cursor.read_to == history.newest_event()


def test_one_that_is_rolled_back_is_waited_for_and_forgotten(endpoint, other):
    slow, quick = make_job("running"), make_job("running")
    end(slow, other)
    succeed(quick)
    outbox.advance()
    other.rollback()
    for _ in range(5):
        outbox.advance()
    assert told() == [str(quick.pk)]
    assert WebhookCursor.objects.get().settled_to == history.newest_event()


def test_who_only_reads_is_not_waited_for(endpoint, other):
    other.execute("SELECT count(*) FROM tasks_jobevent")
    succeed(make_job("running"))
    for _ in range(3):
        outbox.advance()
    assert WebhookCursor.objects.get().settled_to == history.newest_event()


def test_a_batch_whose_last_two_jobs_end_at_once_is_told_once(endpoint, other):
    batch = Batch.objects.create(total=2)
    slow, quick = make_job("running", batch=batch), make_job("running", batch=batch)
    end(slow, other)
    succeed(quick)
    outbox.advance()
    assert str(batch.pk) not in told()
    other.commit()
    for _ in range(4):
        outbox.advance()
    assert told().count(str(batch.pk)) == 1


def test_two_workers_do_not_wait_for_each_other(endpoint, other):
    outbox.advance()
    succeed(make_job("running"))
    outbox.advance()
    other.execute("SELECT * FROM tasks_webhookcursor FOR NO KEY UPDATE")
    succeed(make_job("running"))
    assert outbox.advance() == 0
    other.commit()
    assert outbox.advance() == 1
