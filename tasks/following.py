"""Following a job or a batch while it changes: what is new since the follower's last look, and when it has ended.

The rows are the truth and the only source, so any process can follow any job, and go on where another one ended. All
that is followed in a process is asked for by one poller, with one statement a look.
"""

import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID
from zlib import crc32

from django.db import connection
from django.db.models import Count

from tasks import statements
from tasks.models import Batch, Job, JobEvent
from tasks.polling import Poller
from tasks.states import FINAL, JobState

JOBS_PAUSE_SECONDS = 0.25
BATCHES_PAUSE_SECONDS = 1.0

_STATE_AFTER: dict[str, JobState] = {
    **{state.value: state for state in JobState},
    JobEvent.Kind.CANCEL_REQUESTED: JobState.RUNNING,
    JobEvent.Kind.HANDED_BACK: JobState.QUEUED,
    JobEvent.Kind.REPLAYED: JobState.QUEUED,
    JobEvent.Kind.PURGED: JobState.CANCELLED,
}
"""The state that an event leaves its job in; a restored job's stands in the event. Of the others nothing is told: they
are about messages, not about the job."""
TOLD = (*_STATE_AFTER, JobEvent.Kind.RESTORED.value)


class Position(NamedTuple):
    """How much of a job somebody has seen: up to which event, and which progress (its version, see below)."""

    event_id: int
    progress: str = ""

    def __str__(self) -> str:
        return f"{self.event_id}-{self.progress}" if self.progress else str(self.event_id)

    @classmethod
    def parse(cls, text: str) -> "Position | None":
        """What ``str`` of a position gave; None for any other text."""
        found = re.fullmatch(r"([0-9]{1,18})(?:-([0-9a-f]{8}))?", text)
        return cls(int(found[1]), found[2] or "") if found else None


@dataclass(frozen=True)
class Changed:
    """An event of the job. ``job`` is there with the last one: the job has ended, and nothing more is told."""

    position: Position
    kind: str
    state: JobState
    attempt: int
    at: datetime
    job: Job | None = None


@dataclass(frozen=True)
class Progressed:
    """How far the running attempt is. ``total`` is None while it is unknown."""

    position: Position
    attempt: int
    done: int
    total: int | None
    note: str

    @property
    def percent(self) -> int | None:
        return min(100, self.done * 100 // self.total) if self.total else None


@dataclass(frozen=True)
class Counted:
    """How many jobs of ``batch`` are in each state. ``version`` stands for these numbers."""

    version: str
    batch: Batch
    counts: dict[str, int]


News = Changed | Progressed | Counted


class Follower:
    """Collects news until they are taken; ``on_news`` is called, in the poller's thread, when there are some.

    Only events add up while nobody takes them: newer progress and newer counts replace what they are newer than.
    """

    def __init__(self) -> None:
        self.has_ended = False
        """Nothing more comes after what waits to be taken."""
        self.on_news: Callable[[], object] = lambda: None
        self._news: list[News] = []
        self._lock = threading.Lock()

    def take(self) -> list[News]:
        with self._lock:
            news, self._news = self._news, []
        return news

    def tell(self, *news: News, end: bool = False) -> None:
        with self._lock:
            if news and not isinstance(news[-1], Changed):
                self._news = [old for old in self._news if isinstance(old, Changed)]
            self._news += news
            self.has_ended = self.has_ended or end
        if news or end:
            self.on_news()


class JobFollower(Follower):
    """What happens to one job after ``position``."""

    def __init__(self, job_id: UUID, position: Position):
        super().__init__()
        self.job_id = job_id
        self.after = position.event_id
        """The latest event that was seen, told or not."""
        self._position = position

    def see(self, seen: "_Seen", ended: Job | None) -> None:
        """Tell what is new in ``seen``; ``ended`` is the job where it has."""
        news: list[News] = []
        for event in seen.events:
            if event.id <= self.after:
                continue
            self.after = event.id
            if event.state is not None:
                self._position = Position(event.id, self._position.progress)
                news.append(Changed(self._position, event.kind, event.state, event.attempt, event.at))
        if ended is not None:
            if news and isinstance(news[-1], Changed):
                news[-1] = replace(news[-1], job=ended)
        elif seen.state == JobState.RUNNING and seen.progress_version != self._position.progress:
            self._position = self._position._replace(progress=seen.progress_version)
            news.append(Progressed(self._position, seen.attempt, seen.done, seen.total, seen.note))
        self.tell(*news, end=ended is not None)


class BatchFollower(Follower):
    """How far one batch is, after the numbers that ``version`` stands for."""

    def __init__(self, batch: Batch, version: str = ""):
        super().__init__()
        self.batch = batch
        self._version = version

    def see(self, counts: dict[str, int]) -> None:
        version = _digest(sorted(counts.items()))
        ended = not any(count for state, count in counts.items() if state not in FINAL)
        news = [] if version == self._version else [Counted(version, self.batch, counts)]
        self._version = version
        self.tell(*news, end=ended)


def follow_job(job_id: UUID, last_seen: str = "") -> JobFollower:
    """A follower of the job who has what was missed since the position ``last_seen``, or else its state at this moment.

    One whose position is the job's last has ended, and has no news.
    """
    events = JobEvent.objects.filter(job_id=job_id, kind__in=TOLD).order_by("-id")
    newest = events.values_list("id", flat=True).first() or 0
    position = Position.parse(last_seen)
    if position is None or position.event_id > newest:  # not a word of this database's
        position = Position(max(0, newest - 1))
    follower = JobFollower(job_id, position)
    look_at_jobs([follower])
    return follower


def follow_batch(batch: Batch, last_seen: str = "") -> BatchFollower:
    """A follower of ``batch`` who has its numbers, unless they are those that ``last_seen`` stands for."""
    follower = BatchFollower(batch, last_seen)
    look_at_batches([follower])
    return follower


class _Event(NamedTuple):
    id: int
    kind: str
    attempt: int
    at: datetime
    state: JobState | None


@dataclass(frozen=True)
class _Seen:
    """A job at one moment, and its events from the earliest that one of its followers has yet to see."""

    state: str
    attempt: int
    done: int
    total: int | None
    note: str
    events: list[_Event]

    @property
    def progress_version(self) -> str:
        """Stands for the progress of this attempt; empty before there is any."""
        progress = (self.done, self.total, self.note)
        return _digest([self.attempt, *progress]) if progress != (0, None, "") else ""


# One statement, so that a state and the events which led to it are of the same moment. Each job has a position of its
# own: ids are drawn before the commit, so among jobs a lower one may become visible later. Among the events of one job
# it can not, since whoever appends one holds the job's row until the commit.
_LOOK = """
    SELECT job.id, job.state, job.attempt, job.progress_done, job.progress_total, job.progress_note,
           event.id, event.kind, event.attempt, event.at, {event_state}
    FROM ({followed}) AS followed
    JOIN tasks_job job ON job.id = followed.id
    LEFT JOIN tasks_jobevent event ON event.job_id = followed.id AND event.id > followed.after
    ORDER BY event.id
"""
_POSTGRESQL = _LOOK.format(
    followed="SELECT * FROM json_to_recordset(%(followed)s::json) AS given (id uuid, after bigint)",
    event_state="event.detail ->> 'state'",
)
_SQLITE = _LOOK.format(
    followed="SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.after') AS after "
    "FROM json_each(%(followed)s)",
    event_state="json_extract(event.detail, '$.state')",
)


def look_at_jobs(followers: Sequence[JobFollower]) -> None:
    """Tell each what is new. Of a job that is not there any more, nothing but the end."""
    of_job: dict[UUID, list[JobFollower]] = defaultdict(list)
    for follower in followers:
        of_job[follower.job_id].append(follower)
    seen = _look({job_id: min(follower.after for follower in each) for job_id, each in of_job.items()})
    ended = Job.objects.in_bulk([job_id for job_id, one in seen.items() if one.state in FINAL])
    for job_id, each in of_job.items():
        for follower in each:
            if job_id not in seen:
                follower.tell(end=True)
                continue
            one, job = seen[job_id], ended.get(job_id)
            # Between the two questions it may have been replayed; the next look tells of that.
            has_ended = job is not None and (job.state, job.attempt) == (one.state, one.attempt)
            follower.see(one, job if has_ended else None)


def _look(positions: dict[UUID, int]) -> dict[UUID, _Seen]:
    if connection.vendor == "postgresql":
        given = json.dumps([{"id": str(job_id), "after": after} for job_id, after in positions.items()])
        rows = statements.execute(_POSTGRESQL, {"followed": given})
    else:
        given = json.dumps([{"id": job_id.hex, "after": after} for job_id, after in positions.items()])
        with connection.cursor() as cursor:
            cursor.execute(_SQLITE, {"followed": given})
            rows = [(UUID(id), *row, _moment(at), state) for id, *row, at, state in cursor.fetchall()]
    seen: dict[UUID, _Seen] = {}
    for job_id, state, attempt, done, total, note, *event in rows:
        one = seen.get(job_id) or seen.setdefault(job_id, _Seen(state, attempt, done, total, note, []))
        event_id, kind, of_attempt, at, restored_to = event
        if event_id is not None:
            one.events.append(_Event(event_id, kind, of_attempt, at, _state_after(kind, restored_to)))
    return seen


def _state_after(kind: str, state: str | None) -> JobState | None:
    return JobState(state) if kind == JobEvent.Kind.RESTORED and state else _STATE_AFTER.get(kind)


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(str(text)).replace(tzinfo=UTC) if text else None


def look_at_batches(followers: Sequence[BatchFollower]) -> None:
    """Tell each how many jobs are in each state, where that has changed."""
    counts: dict[UUID, dict[str, int]] = {follower.batch.pk: {} for follower in followers}
    of_state = Job.objects.filter(batch_id__in=counts).order_by().values_list("batch_id", "state").annotate(Count("pk"))
    for batch_id, state, count in of_state:
        counts[batch_id][state] = count
    for follower in followers:
        follower.see(counts[follower.batch.pk])


def _digest(values: Sequence[Any]) -> str:
    return f"{crc32(json.dumps(values).encode()):08x}"


jobs = Poller(look_at_jobs, pause_seconds=JOBS_PAUSE_SECONDS, name="following jobs")
batches = Poller(look_at_batches, pause_seconds=BATCHES_PAUSE_SECONDS, name="following batches")
