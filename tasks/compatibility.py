"""Asked before a deploy: what would this build make of the work that is outstanding?

It reads only columns that every release has had, so the new build can ask before the database is migrated.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, models, transaction

from tasks.errors import InvalidJob
from tasks.models import UNFINISHED, DeadLetter, Job, ParkedJob
from tasks.payloads import load_payload
from tasks.registry import TaskSpec, registry
from tasks.states import JobState
from tasks.topology import TOPOLOGY

MOST_SHOWN = 20
MOST_FINDINGS = 200
ROWS_AT_ONCE = 200  # a payload may have hundreds of KiB

_INDEX = re.compile(r"(?<=\.)\d+(?=\.|$)")


class Problem(models.TextChoices):
    UNKNOWN_TASK = "unknown_task", "this build has no such task"
    INVALID_PAYLOAD = "invalid_payload", "the payload breaks today's schema"
    UNKNOWN_QUEUE = "unknown_queue", "this build declares no such queue"
    FURTHER = "further", "further problems, not told apart"


REMEDIES = {
    Problem.UNKNOWN_TASK: "keep the name as an alias, @task(..., aliases=({task!r},)), or cancel or discard these",
    Problem.INVALID_PAYLOAD: "let the task's model accept it: a default for a new field, the old name beside a new one",
    Problem.UNKNOWN_QUEUE: "keep it in tasks/topology.py until it is empty, or cancel or discard these",
    Problem.FURTHER: "mend those above, then ask again",
}


class Outstanding(NamedTuple):
    """A job, or a dead letter, that this build may have to run."""

    job: UUID | None
    letter: UUID | None
    task: str
    queue: str | None
    """None for a message without a job, which goes back to its exchange."""
    state: str
    """A JobState, or "parked"."""
    due_at: datetime | None
    """When it is queued, if it is not; None: at once, or when somebody replays or restores it."""
    payload: dict[str, Any] | None


@dataclass
class Finding:
    """One problem of one task, and what has it."""

    task: str
    problem: Problem
    what: str
    count: int = 0
    first: list[Outstanding] = field(default_factory=list)
    """The oldest of them, MOST_SHOWN at most."""

    @property
    def remedy(self) -> str:
        return REMEDIES[self.problem].format(task=self.task)


@dataclass
class Report:
    """``jobs`` and ``letters`` were looked at. Nothing found: the build may be deployed."""

    jobs: int = 0
    letters: int = 0
    findings: list[Finding] = field(default_factory=list)


def examine() -> Report:
    """Compare the tasks, schemas and queues of this build with every job that is queued, scheduled, retrying, running
    or parked, and with every open dead letter. Raises DatabaseError or InterfaceError where they can not be read.

    Rows come in portions, and no more than MOST_FINDINGS problems are told apart: memory is bounded.
    """
    report = Report()
    findings: dict[tuple[str, str], Finding] = {}
    with _one_moment():
        for item in _outstanding():
            report.jobs += item.letter is None
            report.letters += item.letter is not None
            for problem, what in _problems_of(item):
                task = item.task
                if (task, what) not in findings and len(findings) >= MOST_FINDINGS:
                    task, problem, what = "", Problem.FURTHER, Problem.FURTHER.label
                finding = findings.setdefault((task, what), Finding(task, problem, what))
                finding.count += 1
                if len(finding.first) < MOST_SHOWN:
                    finding.first.append(item._replace(payload=None))
    report.findings = sorted(findings.values(), key=lambda finding: (finding.problem == Problem.FURTHER, finding.task))
    return report


def _problems_of(item: Outstanding) -> Iterator[tuple[Problem, str]]:
    if item.task not in registry:
        yield Problem.UNKNOWN_TASK, Problem.UNKNOWN_TASK.label
    elif item.payload is not None and (wrong := _fault(registry.get(item.task), item.payload)):
        yield Problem.INVALID_PAYLOAD, f"{Problem.INVALID_PAYLOAD.label}: {wrong}"
    if item.queue is not None and item.queue not in TOPOLOGY.queue_names:
        yield Problem.UNKNOWN_QUEUE, f"{Problem.UNKNOWN_QUEUE.label} as {item.queue}"


def _fault(spec: TaskSpec, payload: dict[str, Any]) -> str:
    """What the task's model has against the payload, alike for every place of a list; empty: nothing."""
    try:
        load_payload(spec, payload)
    except InvalidJob as error:
        told = [f"{_INDEX.sub('*', problem['field'])}: {problem['message']}" for problem in error.problems]
        return "; ".join(dict.fromkeys(told))
    except Exception as error:  # a validator of the team's own
        return f"payload: checking it failed with {error!r}"
    return ""


def _outstanding() -> Iterator[Outstanding]:
    jobs = Job.objects.filter(UNFINISHED).order_by("id")
    waiting = (JobState.SCHEDULED, JobState.RETRYING)
    for id, task, queue, state, due_at, payload in _rows(jobs, "id", "task", "queue", "state", "due_at", "payload"):
        yield Outstanding(id, None, task, queue, state, due_at if state in waiting else None, payload)
    if ParkedJob._meta.db_table in connection.introspection.table_names():
        parked = ParkedJob.objects.order_by("job_id")
        for id, task, queue, due_at, payload in _rows(
            parked, "job_id", "job__task", "job__queue", "due_at", "job__payload"
        ):
            yield Outstanding(id, None, task, queue, "parked", due_at, payload)
    letters = DeadLetter.objects.filter(state=DeadLetter.State.OPEN).order_by("id")
    of_jobs = letters.filter(job__isnull=False)
    for letter, id, task, queue, payload in _rows(of_jobs, "id", "job_id", "job__task", "job__queue", "job__payload"):
        yield Outstanding(id, letter, task, queue, JobState.DEAD, None, payload)
    # What is no job message of this platform may name anything.
    foreign = (DeadLetter.Reason.UNDECODABLE, DeadLetter.Reason.UNKNOWN_MESSAGE)
    messages = letters.filter(job=None).exclude(task="").exclude(reason__in=foreign)
    for letter, task in _rows(messages, "id", "task"):
        yield Outstanding(None, letter, task, None, JobState.DEAD, None, None)


def _rows(queryset: models.QuerySet, *columns: str) -> Iterator[tuple[Any, ...]]:
    return queryset.values_list(*columns).iterator(chunk_size=ROWS_AT_ONCE)


@contextmanager
def _one_moment() -> Iterator[None]:
    """All is read as it was at one moment: what dies, or is replayed, meanwhile is seen once."""
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if outermost and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield
