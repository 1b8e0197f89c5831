"""Each outcome is told once to each endpoint that wants it, whatever order it becomes visible in."""

import pytest
from django.db import IntegrityError

from tasks import history
from tasks.models import Batch, Job, JobEvent, WebhookCursor, WebhookDelivery, WebhookEndpoint
from tasks.webhooks import delivery, endpoints, outbox
from tests.unit.tasks.factories import make_job
from tests.unit.tasks.webhooks.conftest import end

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]


def told(endpoint=None):
    """(type, state or counts) of every message, oldest first."""
    found = WebhookDelivery.objects.order_by("id").select_related("job")
    found = found.filter(endpoint=endpoint) if endpoint else found
    messages = [each.job.payload["message"] for each in found]
    return [(message["type"], message["data"].get("state") or message["data"]["jobs"]) for message in messages]


def read_all():
    """To the last event: a delivery's own beginning is one as well, and of no interest."""
    for _ in range(3):
        outbox.advance()


@pytest.fixture
def writers(monkeypatch):
    """Transactions at work, as PostgreSQL would list them."""
    at_work: list[str] = []
    monkeypatch.setattr(history, "writers", lambda: sorted(at_work))
    return at_work


def test_an_outcome_becomes_a_delivery_job(add):
    endpoint, _ = add()
    event = end("dead", correlation_id="order-7", metadata={"order": 7}, requested_by="bob")
    assert outbox.advance() == 1
    made = WebhookDelivery.objects.get()
    job = made.job
    assert (job.task, job.state, job.queue) == ("platform.deliver_webhook", "queued", "work-queue")
    assert (job.requested_by, job.correlation_id) == ("ann", "order-7")
    assert job.metadata == {"webhook": str(endpoint.pk), "event": "job.dead", "about": str(event.job_id)}
    message = job.payload["message"]
    assert message["type"] == "job.dead"
    assert message["data"] == {
        "id": str(event.job_id),
        "task": "probe.echo",
        "state": "dead",
        "attempt": 1,
        "error": "ValueError: no more",
        "correlation_id": "order-7",
        "batch_id": None,
        "requested_by": "bob",
        "metadata": {"order": 7},
        "created_at": message["data"]["created_at"],
        "finished_at": message["timestamp"],
    }


def test_an_outcome_is_told_once(add):
    add()
    end()
    assert [outbox.advance() for _ in range(3)] == [1, 0, 0]


def test_without_an_endpoint_a_look_costs_one_query(db, django_assert_num_queries):
    end()
    with django_assert_num_queries(1):
        assert outbox.advance() == 0
    assert not WebhookCursor.objects.exists()


def test_an_endpoint_hears_of_what_happens_from_its_creation_on(add):
    end()
    first, _ = add()
    end()
    second, _ = add()
    end()
    outbox.advance()
    assert (len(told(first)), len(told(second))) == (2, 1)


def test_one_that_is_enabled_again_does_not_hear_of_what_happened_meanwhile(add):
    endpoint, _ = add()
    endpoints.disable(endpoint.pk, requested_by="ann")
    end()
    assert outbox.advance() == 0
    endpoints.enable(endpoint.pk, requested_by="ann")
    end("dead")
    outbox.advance()
    assert told() == [("job.dead", "dead")]


@pytest.mark.parametrize(
    ("given", "heard"),
    [
        ({}, ["job.succeeded", "job.dead", "job.cancelled", "job.cancelled"]),
        ({"events": ["job.dead"]}, ["job.dead"]),
        ({"events": ["job.dead", "job.succeeded"]}, ["job.succeeded", "job.dead"]),
        ({"events": ["batch.finished"]}, []),
        ({"tasks": ["probe.fail"]}, ["job.dead"]),
        ({"tasks": ["probe.renamed"]}, ["job.cancelled"]),
        ({"hears_all": False}, ["job.dead", "job.cancelled"]),
        ({"hears_all": False, "events": ["job.dead"]}, ["job.dead"]),
        ({"hears_all": False, "requested_by": "carl"}, []),
    ],
)
def test_an_endpoint_hears_of_what_it_asked_for_and_no_more(add, given, heard):
    add(**given)
    end("succeeded", requested_by="bob")
    end("dead", task="probe.fail", requested_by="ann")
    end("cancelled", task="probe.old_name")
    end("cancelled", kind="purged", requested_by="ann")
    for kind in ("queued", "running", "retrying", "duplicate", "republished"):
        JobEvent.objects.create(job=make_job(), kind=kind)
    outbox.advance()
    assert [type for type, _ in told()] == heard


def test_each_endpoint_is_told_by_a_job_of_its_own(add):
    add()
    add(requested_by="bob")
    end()
    assert outbox.advance() == 2


def test_a_delivery_makes_no_webhook_about_itself(add):
    add()
    end("succeeded", task=delivery.TASK)
    end("dead", task=delivery.TASK)
    assert outbox.advance() == 0


def test_more_than_a_page_is_told_in_order(add, monkeypatch):
    monkeypatch.setattr(outbox, "MOST_EVENTS", 3)
    monkeypatch.setattr(outbox, "MOST_NUMBERS", 5)
    add()
    events = [end() for _ in range(10)]
    assert outbox.advance(budget_seconds=60) == 10
    keys = WebhookDelivery.objects.order_by("id").values_list("key", flat=True)
    assert list(keys) == [str(event.pk) for event in events]


def test_a_budget_that_is_spent_leaves_the_rest_for_the_next_time(add, monkeypatch):
    monkeypatch.setattr(outbox, "MOST_EVENTS", 3)
    add()
    for _ in range(7):
        end()
    assert [outbox.advance(budget_seconds=0) for _ in range(4)] == [3, 3, 1, 0]


# Numbers that appear late


def test_an_event_that_appears_below_what_was_read_is_not_lost(add, writers):
    add()
    late = end("dead")
    hidden = JobEvent.objects.filter(pk=late.pk)
    row = hidden.values().get()
    hidden.delete()  # as if its transaction had not committed yet
    writers.append("3/7")
    end("succeeded")
    outbox.advance()
    assert told() == [("job.succeeded", "succeeded")]  # nobody waits for the other

    outbox.advance()
    JobEvent.objects.create(**row)
    writers[:] = ["4/1"]  # it has committed, and another is at work
    end("cancelled")
    for _ in range(3):
        outbox.advance()
    assert sorted(told()) == [("job.cancelled", "cancelled"), ("job.dead", "dead"), ("job.succeeded", "succeeded")]


def test_what_may_still_appear_is_waited_for(add, writers):
    add()
    writers.append("3/7")
    end()
    for _ in range(3):
        outbox.advance()
    cursor = WebhookCursor.objects.get()
    assert cursor.settled_to < cursor.read_to
    assert cursor.writers == ["3/7"]
    writers.clear()
    read_all()
    cursor.refresh_from_db()
    assert cursor.settled_to == cursor.read_to
    assert len(told()) == 1


def test_what_is_late_is_told_though_there_is_always_something_new(add, writers):
    add()
    late = end("dead")
    hidden = JobEvent.objects.filter(pk=late.pk)
    row = hidden.values().get()
    hidden.delete()
    writers.append("3/7")
    for number in range(4):
        end("succeeded")
        outbox.advance(budget_seconds=0)
        if number == 1:
            JobEvent.objects.create(**row)
            writers[:] = ["4/1"]
    assert ("job.dead", "dead") in told()


def test_where_nobody_writes_everything_is_read_once(add, writers, monkeypatch):
    add()
    end()
    read_all()
    cursor = WebhookCursor.objects.get()
    assert cursor.settled_to == cursor.read_to == history.newest_event()


def test_a_new_endpoint_does_not_have_all_of_history_read(add):
    for _ in range(5):
        end()
    add()
    outbox.advance()
    end()
    read_all()
    assert WebhookCursor.objects.get().read_to == history.newest_event()
    assert len(told()) == 1


def test_a_page_that_fails_is_read_again(add, monkeypatch):
    add()
    end()

    def fail(new):
        raise IntegrityError("somebody else was first")

    with monkeypatch.context() as broken:
        broken.setattr(delivery, "enqueue", fail)
        with pytest.raises(IntegrityError):
            outbox.advance()
    assert outbox.advance() == 1


# Batches


def batch_of(*states, **values):
    batch = Batch.objects.create(name="import", total=len(states), **values)
    return batch, [make_job(state, batch=batch) for state in states]


def finished():
    return [counts for type, counts in told() if type == "batch.finished"]


def test_a_batch_is_told_when_its_last_job_has_ended(add):
    add(events=["batch.finished"])
    batch, (first, second) = batch_of("succeeded", "running")
    end(job=first)
    assert outbox.advance() == 0
    end("dead", job=second)
    outbox.advance()
    message = WebhookDelivery.objects.get().job.payload["message"]
    assert (message["type"], message["data"]["id"], message["data"]["name"]) == (
        "batch.finished",
        str(batch.pk),
        "import",
    )
    assert message["data"]["jobs"] == {"succeeded": 1, "dead": 1}


def test_a_batch_that_ends_within_one_page_is_told_once(add):
    add(events=["batch.finished"])
    _, jobs = batch_of("succeeded", "succeeded", "cancelled")
    for job in jobs:
        end(job.state, job=job)
    outbox.advance()
    assert finished() == [{"succeeded": 2, "cancelled": 1}]


def test_a_batch_whose_outcomes_lie_on_several_pages_is_told_once(add, monkeypatch):
    monkeypatch.setattr(outbox, "MOST_EVENTS", 2)
    add(events=["batch.finished"])
    _, jobs = batch_of(*["succeeded"] * 7)
    for job in jobs:
        end(job=job)
    outbox.advance(budget_seconds=60)
    assert finished() == [{"succeeded": 7}]


def test_a_batch_that_a_replay_makes_unfinished_is_told_once_more_when_it_ends(add):
    add(events=["batch.finished"])
    _, (job,) = batch_of("dead")
    end("dead", job=job)
    outbox.advance()
    Job.objects.filter(pk=job.pk).update(state="queued", finished_at=None)
    JobEvent.objects.create(job=job, kind="replayed")
    outbox.advance()
    job.refresh_from_db()
    end("succeeded", job=job)
    outbox.advance()
    assert finished() == [{"dead": 1}, {"succeeded": 1}]


def test_a_batch_whose_last_outcomes_appear_in_the_wrong_order_is_told_once(add, writers):
    add(events=["batch.finished"])
    _, (early, late) = batch_of("succeeded", "running")
    hidden = end("succeeded", job=late)
    row = JobEvent.objects.filter(pk=hidden.pk).values().get()
    JobEvent.objects.filter(pk=hidden.pk).delete()
    Job.objects.filter(pk=late.pk).update(state="running", finished_at=None)
    writers.append("3/7")
    end(job=early)
    for _ in range(2):
        outbox.advance()
    assert finished() == []

    JobEvent.objects.create(**row)
    Job.objects.filter(pk=late.pk).update(state="succeeded", finished_at=late.created_at)
    writers.clear()
    for _ in range(3):
        outbox.advance()
    assert finished() == [{"succeeded": 2}]


def test_a_batch_is_told_to_whom_it_belongs(add):
    mine, _ = add(hears_all=False)
    others, _ = add(hears_all=False, requested_by="bob")
    _, (job,) = batch_of("succeeded", requested_by="ann")
    end(job=job)
    outbox.advance()
    assert told(mine) == [("batch.finished", {"succeeded": 1})]
    assert told(others) == []


def test_who_did_not_ask_for_batches_hears_of_none(add):
    add(events=["job.succeeded"])
    _, (job,) = batch_of("succeeded")
    end(job=job)
    outbox.advance()
    assert told() == [("job.succeeded", "succeeded")]


def test_a_pruned_job_takes_the_list_of_its_deliveries_along(add):
    add()
    end()
    outbox.advance()
    Job.objects.filter(task=delivery.TASK).delete()
    assert not WebhookDelivery.objects.exists()
    assert WebhookEndpoint.objects.count() == 1


def test_who_hears_of_everybodys_jobs_hears_no_secret_of_theirs(add):
    mine, _ = add(events=["job.dead"], hears_all=False)
    all_of_them, _ = add(events=["job.dead"], hears_all=True)
    job = make_job("dead", requested_by=mine.owner, payload={"password": "hunter22"}, metadata={"api_key": "k-123456"})
    event = end("dead", job=job)
    event.detail["error"] = "hunter22 was refused"
    event.save()
    read_all()
    data = WebhookDelivery.objects.get(endpoint=mine).job.payload["message"]["data"]
    assert (data["error"], data["metadata"]) == ("hunter22 was refused", {"api_key": "k-123456"})
    data = WebhookDelivery.objects.get(endpoint=all_of_them).job.payload["message"]["data"]
    assert (data["error"], data["metadata"]) == ("•••••• was refused", {"api_key": "••••••"})
