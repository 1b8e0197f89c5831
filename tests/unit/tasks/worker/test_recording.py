from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import (
    DataError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)
from django.utils import timezone
from django_celery_results.models import TaskResult

from tasks.api import JobCancelled, PermanentError, RetryPolicy, cancel
from tasks.models import DeadLetter, Job
from tasks.states import JobState
from tasks.worker import recording
from tasks.worker.outcome import Outcome
from tasks.worker.recording import HELD, OUTAGE, Ended, record
from tests.unit.tasks.factories import kinds, make_job

pytestmark = pytest.mark.django_db

POLICY = RetryPolicy(max_attempts=2, base_seconds=1, cap_seconds=1)


def end(job: Job, outcome: Outcome) -> JobState | None:
    (reached,) = record([Ended(job, outcome, "w@test")])
    job.refresh_from_db()
    return reached


def failed(error: Exception, attempt: int = 1) -> Outcome:
    return Outcome.of_error(error, POLICY, attempt)


def test_a_result_is_kept_with_its_attempt():
    job = make_job(JobState.RUNNING)
    assert end(job, Outcome(succeeded=True, result={"a": [1]})) == JobState.SUCCEEDED
    assert (job.result, job.progress_percent, kinds(job)) == ({"a": [1]}, 100, ["succeeded"])
    attempt = TaskResult.objects.get()
    assert (attempt.task_id, attempt.status, attempt.worker, attempt.result) == (
        f"{job.pk}.1", "SUCCESS", "w@test", '{"a": [1]}',
    )  # fmt: skip


def test_a_failure_with_attempts_left_waits_in_the_database():
    job = make_job(JobState.RUNNING)
    assert end(job, failed(ValueError("no"))) == JobState.RETRYING
    assert job.error == "ValueError: no"
    assert abs((job.due_at - timezone.now()).total_seconds()) < 5
    assert TaskResult.objects.get().status == "RETRY"


@pytest.mark.parametrize(
    ("error", "attempt", "reason"),
    [(ValueError("no"), 2, "exhausted"), (PermanentError("no"), 1, "permanent")],
)
def test_a_failure_past_help_is_buried_with_its_traceback(error, attempt, reason):
    job = make_job(JobState.RUNNING, attempt=attempt)
    assert end(job, failed(error, attempt)) == JobState.DEAD
    letter = DeadLetter.objects.get(job=job)
    assert (letter.reason, letter.error_type, letter.error) == (reason, type(error).__name__, "no")
    assert type(error).__name__ in letter.traceback


def test_a_late_outcome_changes_nothing_and_is_told():
    job = make_job(JobState.RUNNING, attempt=2)
    late = Job(pk=job.pk, task=job.task, attempt=1, queue=job.queue)
    assert record([Ended(late, Outcome(succeeded=True, result="late"), "w@test")]) == [None]
    job.refresh_from_db()
    assert (job.state, job.result, kinds(job)) == (JobState.RUNNING, None, ["duplicate"])
    assert TaskResult.objects.get().status == "IGNORED"


def test_an_attempt_has_one_record():
    job = make_job(JobState.RUNNING)
    end(job, failed(ValueError("first")))
    assert end(job, Outcome(succeeded=True, result="late")) is None
    assert TaskResult.objects.get().status == "RETRY"


def test_a_cancelled_job_is_not_retried():
    job = make_job(JobState.RUNNING)
    cancel(job.pk)
    assert end(job, failed(ValueError("no"))) == JobState.CANCELLED


def test_a_checkpoint_that_stopped_the_attempt_ends_the_job():
    job = make_job(JobState.RUNNING)
    assert end(job, failed(JobCancelled("stop"))) == JobState.CANCELLED
    assert TaskResult.objects.get().status == "REVOKED"


def test_a_job_that_finishes_before_its_next_checkpoint_has_succeeded():
    job = make_job(JobState.RUNNING)
    cancel(job.pk)
    assert end(job, Outcome(succeeded=True)) == JobState.SUCCEEDED


def test_an_error_that_no_database_can_keep_is_kept_readable():
    job = make_job(JobState.RUNNING)
    end(job, failed(PermanentError("a\0b \ud800")))
    assert DeadLetter.objects.get().error == "a\\0b \\ud800"


def record_all(*ends: tuple[Job, Outcome]) -> list[Any]:
    return record([Ended(job, outcome, "w@test") for job, outcome in ends])


def running(count: int) -> list[Job]:
    return [make_job(JobState.RUNNING) for _ in range(count)]


def states(jobs: list[Job]) -> list[str]:
    return [Job.objects.get(pk=job.pk).state for job in jobs]


def succeeded(result: Any = None) -> Outcome:
    return Outcome(succeeded=True, result=result)


def test_each_of_a_group_comes_to_what_it_would_come_to_alone():
    jobs = running(6)
    cancel(jobs[4].pk)
    ends = [
        succeeded(1),
        failed(ValueError("x")),
        failed(PermanentError("y")),
        succeeded([2]),
        failed(ValueError("z")),
        succeeded(None),
    ]
    expected = [
        JobState.SUCCEEDED,
        JobState.RETRYING,
        JobState.DEAD,
        JobState.SUCCEEDED,
        JobState.CANCELLED,
        JobState.SUCCEEDED,
    ]
    assert record_all(*zip(jobs, ends, strict=True)) == expected
    assert states(jobs) == expected
    assert [kinds(job)[-1] for job in jobs] == [str(state) for state in expected]
    assert [Job.objects.get(pk=job.pk).result for job in jobs] == [1, None, None, [2], None, None]


def test_a_group_of_successes_costs_no_more_than_one(django_assert_max_num_queries):
    jobs = running(50)
    with django_assert_max_num_queries(6):
        reached = record_all(*((job, succeeded(number)) for number, job in enumerate(jobs)))
    assert reached == [JobState.SUCCEEDED] * 50
    assert TaskResult.objects.filter(status="SUCCESS").count() == 50


def test_a_success_clears_what_was_said_of_earlier_attempts():
    job = make_job(JobState.RUNNING, attempt=2, error="ValueError: before", progress_note="half")
    assert end(job, succeeded("x")) == JobState.SUCCEEDED
    assert (job.error, job.progress_note) == ("", "")
    assert abs(job.finished_at - timezone.now()) < timedelta(seconds=10)
    shown = TaskResult.objects.get()
    assert (shown.task_name, shown.result, shown.date_started) == (job.task, '"x"', job.started_at)


def test_an_attempt_already_recorded_as_lost_keeps_that_record(caplog):
    jobs = running(2)
    TaskResult.objects.create(task_id=f"{jobs[0].pk}.1", status="RETRY")
    assert record_all((jobs[0], succeeded()), (jobs[1], succeeded())) == [JobState.SUCCEEDED] * 2
    assert TaskResult.objects.get(task_id=f"{jobs[0].pk}.1").status == "RETRY"
    assert caplog.messages == [], "it spoils the group for nobody"


def test_late_ones_among_a_group_are_told_and_change_nothing():
    in_time, moved_on, ended = make_job(JobState.RUNNING), make_job(JobState.RUNNING, attempt=2), make_job()
    late = [Job(pk=job.pk, task=job.task, attempt=1, queue=job.queue) for job in (moved_on, ended)]
    reached = record_all((late[0], succeeded("late")), (in_time, succeeded("x")), (late[1], succeeded("late")))
    assert reached == [None, JobState.SUCCEEDED, None]
    assert states([moved_on, in_time, ended]) == [JobState.RUNNING, JobState.SUCCEEDED, JobState.QUEUED]
    assert [kinds(job) for job in (moved_on, in_time, ended)] == [["duplicate"], ["succeeded"], ["duplicate"]]


def test_an_outcome_that_comes_again_is_a_duplicate():
    job = make_job(JobState.RUNNING)
    assert [end(job, succeeded("x")), end(job, succeeded("again"))] == [JobState.SUCCEEDED, None]
    assert (job.result, kinds(job), TaskResult.objects.get().result) == ("x", ["succeeded", "duplicate"], '"x"')


def test_an_outcome_that_is_twice_in_a_group_counts_once():
    job, other = running(2)
    reached = record_all((job, succeeded("x")), (other, succeeded("y")), (job, succeeded("x")))
    assert reached == [JobState.SUCCEEDED, JobState.SUCCEEDED, None]
    assert (kinds(job), kinds(other)) == (["succeeded", "duplicate"], ["succeeded"])


def test_of_one_job_at_two_attempts_in_a_group_the_one_at_hand_counts():
    job = make_job(JobState.RUNNING, attempt=2)
    late = Job(pk=job.pk, task=job.task, attempt=1, queue=job.queue)
    assert record_all((late, succeeded("late")), (job, succeeded("x"))) == [None, JobState.SUCCEEDED]
    job.refresh_from_db()
    assert (job.result, sorted(kinds(job))) == ("x", ["duplicate", "succeeded"])


def test_a_pruned_job_in_a_group_costs_the_others_nothing():
    pruned, kept = running(2)
    stale = Job.objects.get(pk=pruned.pk)
    pruned.delete()
    assert record_all((stale, succeeded()), (kept, succeeded())) == [None, JobState.SUCCEEDED]


# Rows that are held, and outages


postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite never holds a single row")


@postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("outcome", [succeeded("x"), failed(ValueError("x")), failed(PermanentError("x"))])
def test_a_held_row_holds_its_own_outcome_and_no_other(second_connection, outcome, caplog):
    held, *others = running(4)
    second_connection("SELECT 1 FROM tasks_job WHERE id = %s FOR UPDATE", held.pk)
    ends = [succeeded(1), failed(ValueError("no")), failed(PermanentError("no"))]

    reached = record_all((held, outcome), *zip(others, ends, strict=True))

    assert reached == [HELD, JobState.SUCCEEDED, JobState.RETRYING, JobState.DEAD]
    assert (states([held]), kinds(held), TaskResult.objects.count()) == ([JobState.RUNNING], [], 3)
    assert caplog.messages == [], "it was not waited for"


@postgresql
@pytest.mark.django_db(transaction=True)
def test_a_held_outcome_is_recorded_once_its_row_is_free(second_connection):
    (job,) = running(1)
    second_connection("SELECT 1 FROM tasks_job WHERE id = %s FOR UPDATE", job.pk)
    assert record_all((job, succeeded("x"))) == [HELD]
    second_connection("COMMIT")
    assert record_all((job, succeeded("x"))) == [JobState.SUCCEEDED]
    assert kinds(job) == ["succeeded"]


@pytest.fixture
def unusable(monkeypatch) -> None:
    """A connection that is found to be broken."""
    monkeypatch.setattr(type(transaction.get_connection()), "is_usable", lambda self: False)


@pytest.mark.parametrize("outage", OUTAGE)
def test_with_the_database_away_all_of_a_group_is_held(monkeypatch, unusable, outage):
    jobs = running(2)

    def away(*_: Any, **__: Any) -> None:
        raise outage("away")

    monkeypatch.setattr(recording._SUCCEED, "run", away)
    assert record_all((jobs[0], succeeded()), (jobs[1], failed(ValueError("x")))) == [HELD, HELD]
    monkeypatch.undo()
    again = record_all((jobs[0], succeeded()), (jobs[1], failed(ValueError("x"))))
    assert again == [JobState.SUCCEEDED, JobState.RETRYING]


OUTAGES = [
    OperationalError("away"),
    ProgrammingError("no such column: tasks_job.new"),
    NotSupportedError("cached plan must not change result type"),
    InternalError("current transaction is aborted"),
]


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: type(outage).__name__)
def test_an_outage_in_the_middle_of_a_group_holds_what_it_met(monkeypatch, outage):
    first, second, third = running(3)
    real = recording._record

    def away_for_the_second(ended: Ended) -> Any:
        if ended.job.pk == second.pk:
            raise outage
        return real(ended)

    monkeypatch.setattr(recording, "_record", away_for_the_second)
    error = failed(PermanentError("x"))
    assert record_all((first, error), (second, error), (third, error)) == [JobState.DEAD, HELD, JobState.DEAD]
    assert states([first, second, third]) == [JobState.DEAD, JobState.RUNNING, JobState.DEAD]
    assert DeadLetter.objects.filter(job=second).count() == 0


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: type(outage).__name__)
def test_a_success_that_the_database_will_not_take_now_is_held_and_never_dead(monkeypatch, outage):
    jobs = running(3)

    def refuse(*_: Any, **__: Any) -> None:
        raise outage

    monkeypatch.setattr(recording._SUCCEED, "run", refuse)
    assert record_all(*((job, succeeded()) for job in jobs)) == [HELD] * 3
    assert states(jobs) == [JobState.RUNNING] * 3
    monkeypatch.undo()
    assert record_all(*((job, succeeded()) for job in jobs)) == [JobState.SUCCEEDED] * 3


@pytest.fixture
def refuse() -> Iterator[Any]:
    """Has the database refuse every change of a row, as one does that runs out of something for it."""

    def refuse(job: Job) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE 'too much' USING ERRCODE = 'program_limit_exceeded'; END $$"
            )
            cursor.execute(
                "CREATE TRIGGER refuse BEFORE UPDATE ON tasks_job FOR EACH ROW "
                f"WHEN (NEW.id = '{job.pk}') EXECUTE FUNCTION refuse()"
            )

    yield refuse
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION IF EXISTS refuse CASCADE")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a group that SQLite refuses is refused as a whole")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("at", [0, -1])
def test_one_success_that_the_database_refuses_now_holds_up_no_other(refuse, count, at):
    jobs, other = running(count), make_job(JobState.RUNNING)
    refuse(jobs[at])
    ends = [*((job, succeeded(number)) for number, job in enumerate(jobs)), (other, failed(ValueError("x")))]

    reached = record_all(*ends)

    expected = [HELD if job is jobs[at] else JobState.SUCCEEDED for job in jobs]
    assert reached == [*expected, JobState.RETRYING]
    assert kinds(jobs[at]) == []
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION refuse CASCADE")
    assert record_all((jobs[at], succeeded("x"))) == [JobState.SUCCEEDED]
    assert [kinds(job) for job in jobs] == [["succeeded"]] * count


@pytest.fixture
def alter(second_connection) -> Iterator[Any]:
    """Has somebody migrate the table while the worker runs."""

    def alter(kind: str) -> None:
        second_connection(f"ALTER TABLE tasks_job ALTER COLUMN attempt TYPE {kind}")
        second_connection("COMMIT")

    yield alter
    alter("integer")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite keeps no plans")
@pytest.mark.django_db(transaction=True)
def test_a_success_whose_statement_has_an_old_plan_is_recorded_with_a_new_connection(alter, caplog):
    often = connection.settings_dict["OPTIONS"]["prepare_threshold"]
    for job in running(often + 1):
        assert record_all((job, succeeded())) == [JobState.SUCCEEDED]
    jobs = running(3)
    alter("bigint")

    reached = record_all(*((job, succeeded()) for job in jobs))

    assert "cached plan" in caplog.text, "or this test has nothing to test"
    assert set(reached) <= {HELD, JobState.SUCCEEDED}
    held = [job for job, state in zip(jobs, reached, strict=True) if state == HELD]
    assert record_all(*((job, succeeded()) for job in held)) == [JobState.SUCCEEDED] * len(held)
    assert states(jobs) == [JobState.SUCCEEDED] * 3
    assert DeadLetter.objects.count() == 0


# Groups


@pytest.fixture
def groups(monkeypatch) -> list[list[str | None]]:
    """The results of each group of successes that went to the database."""
    groups: list[list[str | None]] = []
    run = recording._SUCCEED.run

    def noted(rows: list[Any], **constants: Any) -> Any:
        groups.append([row[-1] for row in rows])
        return run(rows, **constants)

    monkeypatch.setattr(recording._SUCCEED, "run", noted)
    return groups


@pytest.mark.parametrize(
    ("chars", "sizes"),
    [
        ([10, 10, 10], [3]),
        ([10, 10, 11], [2, 1]),
        ([30, 10, 20, 30], [1, 2, 1]),
        ([20, 20, 20], [1, 1, 1]),
        ([99, 2, 99, 99], [1, 1, 1, 1]),  # what is too much by itself goes alone
        ([30, None, None, 2], [3, 1]),
        ([], []),
    ],
)
def test_a_group_has_a_limit_in_what_it_weighs(groups, monkeypatch, chars, sizes):
    monkeypatch.setattr(recording, "GROUP_CHARS", 30)
    jobs = running(len(chars))
    results = [size and "x" * (size - 2) for size in chars]  # and two quotes
    reached = record_all(*((job, succeeded(result)) for job, result in zip(jobs, results, strict=True)))
    assert [len(group) for group in groups] == sizes
    assert reached == [JobState.SUCCEEDED] * len(chars)
    assert [Job.objects.get(pk=job.pk).result for job in jobs] == results


def test_what_is_recorded_when_the_database_goes_away_is_not_held(monkeypatch, unusable):
    """Else it were told as a duplicate when it is tried again."""
    monkeypatch.setattr(recording, "GROUP_CHARS", 10)
    jobs = running(4)
    run, times = recording._SUCCEED.run, iter([True, False])

    def once(rows: list[Any], **constants: Any) -> Any:
        if not next(times):
            raise OperationalError("away")
        return run(rows, **constants)

    monkeypatch.setattr(recording._SUCCEED, "run", once)
    results = ["12345678", failed(ValueError("x")), "12345678", "12345678"]
    ends = [each if isinstance(each, Outcome) else succeeded(each) for each in results]
    assert record_all(*zip(jobs, ends, strict=True)) == [JobState.SUCCEEDED, HELD, HELD, HELD]


# Outcomes that no row can hold


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite takes any text")
@pytest.mark.django_db(transaction=True)
def test_a_result_that_the_database_refuses_spoils_no_other():
    jobs = running(3)
    reached = record_all((jobs[0], succeeded("a")), (jobs[1], succeeded("nul \0")), (jobs[2], succeeded("c")))
    assert reached == [JobState.SUCCEEDED, JobState.DEAD, JobState.SUCCEEDED]
    assert states(jobs) == reached
    assert [kinds(job) for job in jobs] == [["succeeded"], ["dead"], ["succeeded"]]
    assert DeadLetter.objects.get().job_id == jobs[1].pk


@pytest.mark.parametrize("error", [DataError("out of range"), OverflowError("too large"), ZeroDivisionError()])
def test_an_outcome_that_no_row_can_hold_ends_its_job(monkeypatch, error):
    (job,) = running(1)
    real = recording._record

    def refuse_the_first(ended: Ended) -> Any:
        monkeypatch.undo()
        with transaction.atomic():
            real(ended)
            raise error

    monkeypatch.setattr(recording, "_record", refuse_the_first)
    assert end(job, failed(ValueError("x"))) == JobState.DEAD
    letter = DeadLetter.objects.get(job=job)
    assert (letter.reason, letter.error_type, kinds(job)) == ("permanent", type(error).__name__, ["dead"])


def test_an_outcome_that_can_not_be_recorded_at_all_still_comes_to_something(monkeypatch):
    """DEAD rejects its message: it never keeps its slot of the prefetch window."""
    (job,) = running(1)

    def refuse(ended: Ended) -> Any:
        raise DataError("worse")

    monkeypatch.setattr(recording, "_record", refuse)
    assert end(job, failed(ValueError("x"))) == JobState.DEAD
    assert job.state == JobState.RUNNING, "it is left to supervision"


def test_an_outcome_that_comes_after_its_job_was_pruned_is_let_go():
    job = make_job(JobState.RUNNING)
    stale = Job.objects.get(pk=job.pk)
    job.delete()
    assert record([Ended(stale, Outcome(succeeded=True), "w@test")]) == [None]
    connection.check_constraints()


def test_an_outcome_ends_a_row_of_lost_deliveries():
    job = make_job(JobState.RUNNING, lost_deliveries=2)
    end(job, failed(ValueError("no")))
    assert (job.state, job.lost_deliveries) == (JobState.RETRYING, 0)
