"""Jobs, watched until they have ended."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from django.core.management.base import CommandError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tasks import following, words
from tasks.following import BatchFollower, Changed, Counted, JobFollower, News, Progressed
from tasks.models import Batch, Job
from tasks.states import JobState

INTERRUPTED = 130  # as shells have it
MOST_BARS = 12

Pause = Callable[[float], None]


def watch_jobs(ids: Sequence[UUID], *, seconds: float | None = None, pause: Pause = time.sleep) -> list[Job]:
    """The jobs, in the order of ``ids``, once all have ended or ``seconds`` (None: any number) are over.

    One statement a look for all of them. Until then standard error, which is no part of the answer, has a bar for each
    of few; or a line for each change, where it is no terminal. Raises Job.DoesNotExist, and CommandError when somebody
    looks no longer.
    """
    ids = list(dict.fromkeys(ids))
    followers = {job_id: following.follow_job(job_id) for job_id in ids}
    titles = {job.pk: job.task for job in _ordered(ids)}
    with _display() as display:
        bars = {job_id: display.bar(f"{titles[job_id]} {job_id}") for job_id in ids[:MOST_BARS]}
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            for job_id, follower in followers.items():
                for news in follower.take():
                    display.tell(bars.get(job_id), f"{titles[job_id]} {job_id}", _told(news), news)
            open_ones: list[JobFollower] = [each for each in followers.values() if not each.has_ended]
            if not open_ones or (end is not None and time.monotonic() >= end):
                return _ordered(ids)
            pause(following.JOBS_PAUSE_SECONDS)
            following.look_at_jobs(open_ones)


def watch_batch(batch: Batch, *, seconds: float | None = None, pause: Pause = time.sleep) -> dict[str, int]:
    """How many jobs of the batch are in each state, once none is unfinished or ``seconds`` are over. As above."""
    follower: BatchFollower = following.follow_batch(batch)
    counts: dict[str, int] = {}
    with _display() as display:
        bar = display.bar(str(batch))
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            for news in follower.take():
                if isinstance(news, Counted):
                    counts = news.counts
                display.tell(bar, f"batch {batch.pk}", _told(news), news)
            if follower.has_ended or (end is not None and time.monotonic() >= end):
                return counts
            pause(following.BATCHES_PAUSE_SECONDS)
            following.look_at_batches([follower])


class _Display:
    def __init__(self, console: Console, progress: Progress):
        self._console = console
        self._progress = progress

    def bar(self, what: str) -> TaskID:
        return self._progress.add_task(words.printable(what), total=None, told="")

    def tell(self, bar: TaskID | None, what: str, told: str, news: News) -> None:
        told = words.printable(told)
        if not self._console.is_terminal:
            if not isinstance(news, Progressed):  # of that there is too much for lines
                self._console.print(f"{what}: {told}", markup=False, highlight=False, soft_wrap=True)
            return
        if bar is None:
            return
        match news:
            case Progressed():
                self._progress.update(bar, completed=news.done, total=news.total, told=told)
            case Counted():
                ended = sum(count for state, count in news.counts.items() if JobState(state).is_final)
                self._progress.update(bar, completed=ended, total=sum(news.counts.values()), told=told)
            case Changed() if news.state == JobState.SUCCEEDED:
                self._progress.update(bar, completed=1, total=1, told=told)
            case Changed():
                self._progress.update(bar, told=told)


@contextmanager
def _display() -> Iterator[_Display]:
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    try:
        with progress:
            yield _Display(console, progress)
    except KeyboardInterrupt:
        raise CommandError("no longer watched; the work goes on by itself", returncode=INTERRUPTED) from None


def _told(news: News) -> str:
    match news:
        case Changed():
            attempt = f", attempt {news.attempt}" if news.attempt else ""
            error = f": {words.error_line('', news.job.error)}" if news.job is not None and news.job.error else ""
            return f"{news.state}{attempt}{error}"
        case Progressed():
            of = f" of {news.total:,}" if news.total else ""
            return f"{news.done:,}{of} {news.note}".rstrip()
        case Counted():
            return ", ".join(f"{count:,} {state}" for state, count in sorted(news.counts.items())) or "no jobs"


def _ordered(ids: Sequence[UUID]) -> list[Job]:
    found = Job.objects.in_bulk(ids)
    if missing := [str(job_id) for job_id in ids if job_id not in found]:
        raise CommandError(f"there is no job {', '.join(missing)}")
    return [found[job_id] for job_id in ids]
