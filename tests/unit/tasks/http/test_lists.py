"""GET /jobs and /batches: filters, pages, and whose they are."""

import re
from base64 import urlsafe_b64encode
from datetime import timedelta
from itertools import chain
from urllib.parse import urlencode
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tasks import seeking
from tasks.batches import enqueue_many
from tasks.models import Batch, Job
from tasks.moments import least_id_at
from tasks.registry import registry
from tasks.states import JobState
from tests.unit.tasks.factories import make_job
from tests.unit.tasks.http.test_jobs import problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def everyone(caller):
    return caller("monitor", "jobs:read", "jobs:read_all")


def listed(by, **filters) -> list[str]:
    answer = by.get(f"/api/v1/jobs?{urlencode(filters)}")
    assert answer.status_code == 200, answer.content
    return [item["id"] for item in answer.json()["items"]]


def ids(*jobs: Job) -> list[str]:
    return [str(job.pk) for job in jobs]


def walk(by, address: str, direction: str = "next") -> list[list[str]]:
    """The ids of each page, as its links lead from one to another."""
    pages = []
    while address:
        page = by.get(address).json()
        pages.append([item["id"] for item in page["items"]])
        address = page[direction]
    return pages


def test_the_newest_come_first_without_what_may_be_large(everyone):
    jobs = [make_job() for _ in range(3)]
    items = everyone.get("/api/v1/jobs").json()["items"]
    assert [item["id"] for item in items] == ids(*reversed(jobs))
    assert {"payload", "result", "metadata"}.isdisjoint(items[0])


def test_pages_lead_through_all_rows_and_back(everyone):
    expected = ids(*reversed([make_job() for _ in range(7)]))
    pages = walk(everyone, "/api/v1/jobs?limit=3")
    assert [len(page) for page in pages] == [3, 3, 1]
    assert list(chain(*pages)) == expected
    last = everyone.get(everyone.get(everyone.get("/api/v1/jobs?limit=3").json()["next"]).json()["next"]).json()
    assert last["next"] is None
    back = walk(everyone, last["previous"], "previous")
    assert back == [expected[3:6], expected[:3]]


def test_what_comes_meanwhile_moves_no_page(everyone):
    jobs = [make_job() for _ in range(4)]
    first = everyone.get("/api/v1/jobs?limit=2").json()
    late = make_job()
    second = everyone.get(first["next"]).json()
    assert [item["id"] for item in second["items"]] == ids(jobs[1], jobs[0])
    newer = everyone.get(everyone.get(second["previous"]).json()["previous"]).json()
    assert [item["id"] for item in newer["items"]] == ids(late)


def test_the_links_are_in_the_header_too_and_keep_the_filters(everyone):
    for _ in range(5):
        make_job(correlation_id="a b&c")
    first = everyone.get("/api/v1/jobs?limit=2&correlation_id=a+b%26c")
    assert first["Link"] == f'<{first.json()["next"]}>; rel="next"'
    second = everyone.get(first.json()["next"])
    assert len(second.json()["items"]) == 2
    assert re.findall(r'rel="(\w+)"', second["Link"]) == ["next", "prev"]


def test_each_filter_leaves_what_it_says(everyone, outbox):
    batch = enqueue_many("probe.echo", [{"text": "x"}])
    of_batch = batch.jobs.get()
    dead = make_job(JobState.DEAD, task="probe.other", queue="email-queue")
    running = make_job(JobState.RUNNING, correlation_id="c", requested_by="token:ann")
    waiting = make_job(JobState.SCHEDULED, requested_by="token:ann")
    assert listed(everyone, state="dead") == listed(everyone, task="probe.other") == ids(dead)
    assert listed(everyone, queue="email-queue") == ids(dead)
    assert listed(everyone, batch=batch.pk) == ids(of_batch)
    assert listed(everyone, correlation_id="c") == listed(everyone, state="running") == ids(running)
    assert listed(everyone, requested_by="token:ann") == ids(waiting, running)
    assert listed(everyone, requested_by="token:ann", state="scheduled") == ids(waiting)
    assert listed(everyone, state="succeeded") == []
    assert listed(everyone, task="probe.echo", queue="work-queue", state="queued") == ids(of_batch)


def test_a_span_of_time_goes_by_the_ids(everyone):
    now = timezone.now()
    old = make_job(id=UUID(int=least_id_at(now - timedelta(days=2)).int + 1))
    new = make_job()
    yesterday = (now - timedelta(days=1)).isoformat()
    assert listed(everyone, created_after=yesterday) == ids(new)
    assert listed(everyone, created_before=yesterday) == ids(old)
    ever = {"created_after": "0001-01-01T00:00:00Z", "created_before": "9999-12-31T00:00:00Z"}
    assert listed(everyone, **ever) == ids(new, old)


def test_a_task_is_found_under_its_earlier_names(everyone):
    spec = next(spec for spec in registry if spec.aliases)
    before, now = make_job(task=spec.aliases[0]), make_job(task=spec.name)
    assert listed(everyone, task=spec.name) == ids(now, before)


def test_a_caller_sees_their_own_alone(caller):
    ann = caller("ann")
    mine, _ = make_job(requested_by=ann.owner), make_job(requested_by="token:bob")
    assert listed(ann) == listed(ann, requested_by=ann.owner) == ids(mine)


def test_to_ask_for_anothers_jobs_takes_the_right(caller):
    told = problem(caller("ann").get("/api/v1/jobs?requested_by=token:bob"), 403, "forbidden")
    assert "jobs:read_all" in told["detail"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=lost", "state"),
        ("staet=dead", "staet"),
        ("state=dead&state=queued", "state"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("batch=7", "batch"),
        ("task=", "task"),
        ("queue=a%00b", "queue"),
        ("correlation_id=a%0d%0ab", "correlation_id"),
        ("correlation_id=" + "x" * 201, "correlation_id"),
        ("created_after=yesterday", "created_after"),
        ("created_after=2026-01-01T00:00:00", "created_after"),
        ("cursor=%FF", "cursor"),
        ("cursor=zz", "cursor"),
        ("cursor=" + urlsafe_b64encode(b"n7").decode().rstrip("="), "cursor"),
        ("cursor=" + "A" * 201, "cursor"),
    ],
)
def test_a_query_that_is_wrong_is_told_where(everyone, query, field):
    told = problem(everyone.get(f"/api/v1/jobs?{query}"), 422, "invalid")
    assert [error["field"] for error in told["errors"]] == [field]


def test_broken_utf8_in_a_query_is_no_fault_of_ours(everyone):
    assert everyone.get("/api/v1/jobs?task=%ff%fe").json()["items"] == []


def test_a_rare_find_ends_its_page_where_it_has_read_enough(everyone, monkeypatch):
    monkeypatch.setattr(seeking, "MOST_READ", 4)
    wanted = [make_job(JobState.SUCCEEDED, queue="email-queue") for _ in range(2)]
    for _ in range(7):
        make_job(JobState.SUCCEEDED)
    wanted.append(make_job(JobState.SUCCEEDED, queue="email-queue"))
    pages = walk(everyone, "/api/v1/jobs?queue=email-queue&state=succeeded&limit=5")
    assert list(chain(*pages)) == ids(*reversed(wanted))
    assert len(pages) == 3


def test_the_way_back_ends_where_it_has_read_enough_as_well(everyone, monkeypatch):
    wanted = [make_job(queue="email-queue")]
    for _ in range(6):
        make_job()
    wanted += [make_job(queue="email-queue") for _ in range(3)]
    first = everyone.get("/api/v1/jobs?queue=email-queue&limit=3").json()
    second = everyone.get(first["next"]).json()
    monkeypatch.setattr(seeking, "MOST_READ", 4)
    back = walk(everyone, second["previous"], "previous")
    assert list(chain(*reversed(back))) == ids(*reversed(wanted[1:]))


def test_no_list_counts_its_rows(everyone):
    for _ in range(3):
        make_job(requested_by="token:ann")
    with CaptureQueriesContext(connection) as asked:
        listed(everyone, requested_by="token:ann", state="queued", queue="work-queue")
    assert not [query for query in asked.captured_queries if "COUNT(" in query["sql"].upper()]


def test_batches_are_listed_to_their_owners(caller, everyone, outbox):
    mine = enqueue_many("probe.echo", [{"text": "x"}], requested_by="token:ann", name="night")
    other = enqueue_many("probe.echo", [], requested_by="token:bob")
    items = caller("ann").get("/api/v1/batches").json()["items"]
    assert [(item["id"], item["name"], item["total"]) for item in items] == [(str(mine.pk), "night", 1)]
    assert walk(everyone, "/api/v1/batches?limit=1") == [[str(other.pk)], [str(mine.pk)]]
    assert Batch.objects.count() == 2


def plan_of(query: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {query}")
        return "\n".join(row[0] for row in cursor.fetchall())


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="PostgreSQL's plans")
@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, "tasks_job_pkey"),
        ({"requested_by": "token:ann"}, "job_owner"),
        ({"task": "probe.rare"}, "job_task"),
        ({"state": "dead"}, "job_ended_badly"),
        ({"state": "scheduled"}, "job_due"),
        ({"correlation_id": "c"}, "job_correlation"),
        ({"state": "succeeded", "queue": "sms-queue"}, "tasks_job_pkey"),
        ({"requested_by": "token:ann", "state": "succeeded", "queue": "sms-queue"}, "job_owner"),
    ],
)
def test_postgresql_reads_no_whole_table_for_a_list(everyone, filters, index, monkeypatch):
    monkeypatch.setattr(seeking, "MOST_READ", 50)
    now = timezone.now()
    Job.objects.bulk_create(
        Job(task="probe.echo", queue="work-queue", state="succeeded", finished_at=now, requested_by=f"token:{n % 50}")
        for n in range(5_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE tasks_job")
    with CaptureQueriesContext(connection) as asked:
        listed(everyone, **filters)
    plans = [plan_of(query["sql"]) for query in asked.captured_queries if 'FROM "tasks_job"' in query["sql"]]
    assert index in "\n".join(plans)
    assert "Seq Scan" not in "\n".join(plans)


@pytest.mark.parametrize("moment", ["0.5", "1764000000", "-5", "now", "2026-01-31T08:00:00"])
def test_a_moment_is_written_as_one_with_its_time_zone(caller, moment):
    response = caller().get(f"/api/v1/jobs?created_before={moment}")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "created_before")
