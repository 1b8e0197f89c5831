"""One statement or several, the answer is the same: each test runs on the database at hand, and both are tried."""

import json
from datetime import UTC, timedelta
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from tasks.models import Job, JobEvent
from tasks.states import JobState
from tasks.worker.grouped import GroupStatement
from tests.unit.tasks.factories import kinds, make_job

pytestmark = pytest.mark.django_db

OUT = {
    "id": "uuid",
    "worker_id": "uuid",
    "task": "text",
    "attempt": "integer",
    "started_at": "moment",
    "due_at": "moment",
    "payload": "json",
    "result": "json",
}
GIVEN = {"id": "uuid", "attempt": "integer", "note": "text", "result": "json"}
UPDATE = """
    UPDATE tasks_job SET result = given.result, progress_note = given.note, finished_at = {now}
    FROM given WHERE tasks_job.id = given.id AND tasks_job.attempt = given.attempt AND tasks_job.id IN (
        SELECT job.id FROM tasks_job job JOIN given ON job.id = given.id AND job.attempt = given.attempt
        WHERE job.state = 'running' {unless_held}
    )
"""
TELL = """
    INSERT INTO tasks_jobevent (job_id, kind, attempt, at, detail)
    SELECT changed.id, %(kind)s, given.attempt, {now}, given.result
    FROM changed JOIN given ON changed.id = given.id AND changed.attempt = given.attempt
"""
STATEMENT = GroupStatement(given=GIVEN, update=UPDATE, returning=OUT, then=[TELL])
SHORT = GroupStatement(given=GIVEN, update=UPDATE, returning=OUT, then=[TELL, TELL], answer=["attempt", "id"])
ODD = "a 'quote', a \"double\", %s, {braces}, $[0], \\, ü, 😀\n"


def run(*rows, statement: GroupStatement = STATEMENT):
    return statement.run(rows, kind="progress")


def test_every_type_comes_back_as_what_it_is():
    moment = timezone.now() - timedelta(days=3, microseconds=7)
    job = make_job(JobState.RUNNING, payload={"text": ODD}, started_at=moment)
    ((id, worker, task, attempt, started_at, due_at, payload, result),) = run((job.pk, 1, "", '{"a": [1, null]}'))
    assert (id, worker, task, attempt) == (job.pk, None, "probe.echo", 1)
    assert (started_at, started_at.utcoffset()) == (moment, timedelta(0))
    assert due_at is None
    assert (json.loads(payload), json.loads(result)) == ({"text": ODD}, {"a": [1, None]})


@pytest.mark.parametrize("result", ['"text"', "1", "true", "[]", '{"odd": "\\u00fc %s {x}"}', None])
def test_what_is_given_arrives_in_the_row_and_in_what_follows(result):
    job = make_job(JobState.RUNNING)
    run((job.pk, 1, ODD, result or "[]"))
    if result is None:
        run((job.pk, 1, ODD, None), statement=GroupStatement(given=GIVEN, update=UPDATE, returning=OUT, then=[]))
    job.refresh_from_db()
    assert (job.result, job.progress_note) == (result and json.loads(result), ODD)
    event = JobEvent.objects.get(job=job)
    assert (event.kind, event.attempt, event.detail) == ("progress", 1, json.loads(result or "[]"))


def test_the_clock_is_the_databases_and_aware():
    job = make_job(JobState.RUNNING)
    run((job.pk, 1, "", "[]"))
    job.refresh_from_db()
    assert abs(job.finished_at - timezone.now()) < timedelta(seconds=10)
    assert job.finished_at.tzinfo is UTC
    assert abs(JobEvent.objects.get().at - job.finished_at) < timedelta(seconds=1)


def test_only_what_changed_is_answered_and_followed_by_anything():
    moves, queued, older = make_job(JobState.RUNNING), make_job(), make_job(JobState.RUNNING, attempt=2)
    answered = run(*((id, 1, "", "[]") for id in (queued.pk, moves.pk, uuid4(), older.pk)))
    assert [row[0] for row in answered] == [moves.pk]
    assert (kinds(moves), kinds(queued), kinds(older)) == (["progress"], [], [])


@pytest.mark.parametrize("order", [[1, 2, 3], [3, 2, 1]])
def test_of_one_job_given_at_several_attempts_the_one_it_is_at_counts(order):
    job = make_job(JobState.RUNNING, attempt=2)
    ((id, *_),) = run(*((job.pk, attempt, f"at {attempt}", json.dumps([attempt])) for attempt in order))
    job.refresh_from_db()
    assert (id, job.progress_note, job.result) == (job.pk, "at 2", [2])
    assert list(JobEvent.objects.values_list("attempt", "detail")) == [(2, [2])]


def test_the_answer_may_be_shorter_and_in_another_order():
    job = make_job(JobState.RUNNING)
    assert run((job.pk, 1, "", "[]"), statement=SHORT) == [(1, job.pk)]
    assert kinds(job) == ["progress", "progress"]


def test_a_large_group_is_one_group():
    jobs = [make_job(JobState.RUNNING) for _ in range(300)]
    answered = run(*((job.pk, 1, f"note {number}", json.dumps([number])) for number, job in enumerate(jobs)))
    assert {row[0] for row in answered} == {job.pk for job in jobs}
    assert [Job.objects.get(pk=job.pk).result for job in jobs[::100]] == [[0], [100], [200]]
    assert JobEvent.objects.count() == 300


@pytest.mark.django_db(transaction=True)
def test_it_is_all_or_nothing():
    job = make_job(JobState.RUNNING)
    breaks = GroupStatement(given=GIVEN, update=UPDATE, returning=OUT, then=[TELL, TELL.replace("%(kind)s", "NULL")])
    with pytest.raises(DatabaseError):
        breaks.run([(job.pk, 1, "changed", "[]")], kind="progress")
    job.refresh_from_db()
    assert (job.progress_note, kinds(job)) == ("", [])


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite never holds a single row")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lock", ["FOR UPDATE", "FOR NO KEY UPDATE", "FOR SHARE"])
def test_a_row_that_somebody_holds_is_passed_over_and_not_waited_for(lock, second_connection):
    held, free = make_job(JobState.RUNNING), make_job(JobState.RUNNING)
    second_connection(f"SELECT 1 FROM tasks_job WHERE id = %s {lock}", held.pk)
    answered = run((held.pk, 1, "", "[]"), (free.pk, 1, "", "[]"))
    assert [row[0] for row in answered] == [free.pk]
