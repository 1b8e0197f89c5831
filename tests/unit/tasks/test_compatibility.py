"""What this build would make of the work that is outstanding."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from pydantic import BaseModel

from tasks import compatibility
from tasks.api import task
from tasks.compatibility import MOST_SHOWN, Problem, examine
from tasks.models import DeadLetter, Operation, ParkedJob
from tasks.registry import registry
from tasks.states import JobState
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db


def make_letter(job=None, **values):
    return DeadLetter.objects.create(
        **{
            "job": job,
            "attempt": 1,
            "reason": "exhausted",
            "queue": "work-queue",
            "task": job.task if job else "",
            **values,
        }
    )


def park(job):
    operation = Operation.objects.create(verb="purge", requested_by="ann")
    ParkedJob.objects.create(job=job, operation=operation, place=0, state="queued", delete_at=timezone.now())


def told():
    return [(finding.task, finding.problem, finding.count) for finding in examine().findings]


def test_work_that_this_build_knows_is_no_finding():
    for state in JobState:
        make_job(state)
    make_letter(make_job("dead"))
    park(make_job("cancelled"))
    report = examine()
    assert (report.jobs, report.letters, report.findings) == (5, 1, [])


@pytest.mark.parametrize("state", ["queued", "scheduled", "retrying", "running", "parked", "dead"])
@pytest.mark.parametrize(
    ("values", "problem", "what"),
    [
        ({"task": "gone.task"}, "unknown_task", "this build has no such task"),
        (
            {"payload": {"seconds": "many"}},
            "invalid_payload",
            "the payload breaks today's schema: payload.seconds: Input should be a valid number, "
            "unable to parse string as a number",
        ),
        ({"queue": "old-queue"}, "unknown_queue", "this build declares no such queue as old-queue"),
    ],
    ids=["task", "payload", "queue"],
)
def test_each_problem_is_found_wherever_the_job_stands(state, values, problem, what):
    job = make_job("cancelled" if state == "parked" else state, **values)
    if state == "parked":
        park(job)
    if state == "dead":
        make_letter(job)
    (finding,) = examine().findings
    assert (finding.task, finding.problem, finding.what, finding.count) == (job.task, problem, what, 1)
    assert [(item.job, item.state) for item in finding.first] == [(job.pk, state)]


@pytest.mark.parametrize("state", ["succeeded", "cancelled", "dead"])
def test_what_has_ended_and_nobody_asks_for_is_passed_over(state):
    job = make_job(state, task="gone.task")
    make_letter(job, state="replayed")
    make_letter(job, attempt=2, state="discarded")
    assert told() == []


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({"task": "gone.task", "reason": "unknown_task"}, 1),
        ({"task": "gone.task", "reason": "unrouted"}, 1),
        ({"task": "gone.task", "reason": "unknown_message"}, 0),
        ({"task": "probe.echo", "reason": "unrouted", "queue": "unrouted-queue"}, 0),
        ({"task": "", "reason": "undecodable"}, 0),
    ],
)
def test_of_messages_without_a_job_those_are_found_that_ask_for_a_task(values, count):
    letter = make_letter(**values)
    found = [item for finding in examine().findings for item in finding.first]
    assert [(item.job, item.letter) for item in found] == [(None, letter.pk)] * count


def test_an_alias_counts_as_its_task():
    for old in ("probe.old_name", "probe.renamed"):
        make_job(task=old)
    make_job(task="probe.old_name", payload={"failures": []})
    assert told() == [("probe.old_name", Problem.INVALID_PAYLOAD, 1)]


def test_one_job_may_have_several_problems():
    make_job(task="gone.task", queue="old-queue")
    assert {problem for _, problem, _ in told()} == {"unknown_task", "unknown_queue"}


def test_alike_problems_are_one_finding_with_the_first_of_its_jobs():
    due = [datetime(2030, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(MOST_SHOWN + 5)]
    jobs = [make_job("scheduled", task="gone.task", due_at=moment) for moment in due]
    (finding,) = examine().findings
    assert finding.count == MOST_SHOWN + 5
    assert [(item.job, item.due_at) for item in finding.first] == [(job.pk, job.due_at) for job in jobs[:MOST_SHOWN]]


class Lines(BaseModel):
    lines: list[int]


def test_a_fault_is_the_same_in_every_place_of_a_list(monkeypatch):
    monkeypatch.setattr(registry, "_specs", dict(registry._specs))
    task("case.lines", payload=Lines)(lambda payload, context: None)
    make_job(task="case.lines", payload={"lines": ["a", 1, "b"]})
    make_job(task="case.lines", payload={"lines": [1, 1, 1, "c"]})
    (finding,) = examine().findings
    assert (finding.count, "payload.lines.*: Input should be a valid integer" in finding.what) == (2, True)


def test_a_model_that_can_not_even_check_the_payload_is_a_finding(monkeypatch):
    def fail(spec, payload):
        raise KeyError("rate")

    monkeypatch.setattr(compatibility, "load_payload", fail)
    make_job()
    (finding,) = examine().findings
    assert "checking it failed with KeyError('rate')" in finding.what


def test_no_more_problems_are_told_apart_than_memory_should_hold(monkeypatch):
    monkeypatch.setattr(compatibility, "MOST_FINDINGS", 2)
    for number in range(5):
        make_job(task=f"gone.task{number}")
    assert told() == [("gone.task0", "unknown_task", 1), ("gone.task1", "unknown_task", 1), ("", "further", 3)]


def test_a_database_of_an_earlier_release_has_nothing_parked(monkeypatch):
    park(make_job("cancelled", task="gone.task"))
    monkeypatch.setattr(compatibility.connection.introspection, "table_names", lambda: ["tasks_job"])
    assert told() == []


def test_rows_are_read_in_portions(django_assert_num_queries, monkeypatch):
    """Their payloads are not all in memory, and there is no query for each."""
    for number in range(30):
        make_letter(make_job("dead", payload={"text": f"{number}"}))
    with django_assert_num_queries(7):  # a savepoint and its release, the tables' names, four reads
        assert examine().letters == 30
