import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DataError, InterfaceError, OperationalError, connection, transaction

from tasks import dispatch, group_commit
from tasks.api import enqueue
from tasks.group_commit import GroupCommit
from tasks.models import Job, JobEvent
from tests.waiting import wait_for


class Database:
    """Writes when it is told to. A row that is an exception is raised."""

    def __init__(self) -> None:
        self.writes: list[list[object]] = []
        self.begun, self.free = threading.Event(), threading.Event()

    def write(self, rows: Sequence[object]) -> list[str]:
        self.writes.append(list(rows))
        self.begun.set()
        assert self.free.wait(10)
        for row in rows:
            if isinstance(row, BaseException):
                raise row
        return [f"{row} is stored" for row in rows]


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(50) as pool:
        yield pool


def meanwhile(group: GroupCommit, database: Database, pool: ThreadPoolExecutor, rows: list) -> Callable[[], list]:
    """``rows`` come, in their order, while "first" is being written; call it for what became of each."""
    leading = pool.submit(group.commit, "first")
    assert database.begun.wait(10)
    futures = []
    for number, row in enumerate(rows):
        futures.append(pool.submit(group.commit, row))
        wait_for(lambda number=number: len(group._waiting) == number + 1, "the row to wait")
    database.free.set()
    assert leading.result(10) == "first is stored"
    return lambda: [future.exception(10) or future.result() for future in futures]


def test_whoever_comes_alone_is_written_alone_and_at_once(database):
    database.free.set()
    group = GroupCommit(database.write)
    assert [group.commit(row) for row in "ab"] == ["a is stored", "b is stored"]
    assert database.writes == [["a"], ["b"]]


def test_whoever_comes_meanwhile_is_written_together(database, pool):
    rows = [f"row {number}" for number in range(30)]
    answers = meanwhile(GroupCommit(database.write), database, pool, rows)
    assert answers() == [f"{row} is stored" for row in rows]
    assert database.writes == [["first"], rows]


def test_a_group_has_a_limit(database, pool, monkeypatch):
    monkeypatch.setattr(group_commit, "MOST_AT_ONCE", 10)
    answers = meanwhile(GroupCommit(database.write), database, pool, list(range(25)))
    assert answers() == [f"{row} is stored" for row in range(25)]
    assert [len(rows) for rows in database.writes] == [1, 10, 10, 5]


def test_a_bad_row_is_its_own_callers_alone(database, pool):
    answers = meanwhile(GroupCommit(database.write), database, pool, ["a", DataError("bad"), "c"])
    a, error, c = answers()
    assert (a, c) == ("a is stored", "c is stored")
    assert isinstance(error, DataError)
    assert str(error) == "bad"


@pytest.mark.parametrize("outage", [OperationalError("away"), InterfaceError("closed")])
def test_an_outage_is_everyones_and_is_not_tried_once_for_each(database, pool, outage):
    answers = meanwhile(GroupCommit(database.write), database, pool, ["a", outage, "c"])
    errors = answers()
    assert {(type(error), str(error)) for error in errors} == {(type(outage), str(outage))}
    assert len(set(map(id, errors))) == 3, "two threads raise one error, and it has both tracebacks"
    assert len(database.writes) == 2


def test_a_leader_that_is_interrupted_leaves_nobody_waiting(database, pool):
    group = GroupCommit(database.write)
    answers = meanwhile(group, database, pool, [KeyboardInterrupt(), "b"])
    interrupted, other = answers()
    assert isinstance(interrupted, KeyboardInterrupt)
    assert isinstance(other, InterfaceError)
    assert group.commit("next") == "next is stored"


def test_a_forked_process_has_a_group_of_its_own():
    parents = dispatch._group_commit
    with parents._lock:
        child = os.fork()
        if not child:
            os._exit(dispatch._group_commit is parents or dispatch._group_commit._lock.locked())
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.django_db
def test_within_a_transaction_nobody_shares(outbox, monkeypatch):
    monkeypatch.setattr(GroupCommit, "commit", None)
    with transaction.atomic():
        enqueue("probe.echo")


@pytest.mark.django_db(transaction=True)
def test_a_key_is_written_alone_as_it_may_have_to_wait_for_somebody(outbox, monkeypatch):
    monkeypatch.setattr(GroupCommit, "commit", None)
    enqueue("probe.echo", idempotency_key="k")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="xmin is PostgreSQL's")
@pytest.mark.django_db(transaction=True)
def test_concurrent_callers_share_one_commit(outbox, pool):
    def one(number: int) -> Job:
        try:
            return enqueue("probe.echo", {"text": str(number)})
        finally:
            connection.close()

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE tasks_job IN EXCLUSIVE MODE")
        futures = [pool.submit(one, number) for number in range(40)]
        wait_for(lambda: len(dispatch._group_commit._waiting) == 39, "all others to wait for the first")
    jobs = [future.result(10) for future in futures]

    assert [job.payload["text"] for job in jobs] == [str(number) for number in range(40)]
    assert {job.pk for job in jobs} == set(Job.objects.values_list("pk", flat=True))
    assert {job.pk for job in jobs} == {message.job_id for message in outbox}
    assert JobEvent.objects.filter(kind="queued").count() == 40
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT xmin::text) FROM tasks_job")
        assert cursor.fetchone() == (2,), "the first, and all that came meanwhile"
