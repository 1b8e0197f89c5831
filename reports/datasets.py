"""What can be reported on, by name."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from reports.table import UNKNOWN, Chart, Column, Figure, Row, Series, Table
from tasks.api import job_activity

Build = Callable[[date, date], Table]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """``build(since, until)`` makes the Table of these days, both included, in UTC."""

    name: str
    title: str
    build: Build


DATASETS: dict[str, Dataset] = {}


def dataset(name: str, *, title: str) -> Callable[[Build], Build]:
    """Register ``function(since, until) -> Table`` as the data set called ``name``. An app's own data sets belong in
    a module that its tasks.py imports, so that web and worker processes know them alike.

    Raises ImproperlyConfigured when the name is taken.
    """

    def register(build: Build) -> Build:
        if name in DATASETS:
            raise ImproperlyConfigured(f"two functions are registered as data set {name!r}; rename one of them")
        DATASETS[name] = Dataset(name=name, title=title, build=build)
        return build

    return register


def period_text(since: date, until: date) -> str:
    """17 Nov 2026 – 23 Nov 2026, or one day alone."""  # noqa: RUF002  an en dash, as between any two dates
    days = [f"{day:%-d %b %Y}" for day in (since, until)]
    return days[0] if since == until else " – ".join(days)  # noqa: RUF001


@dataset("job-activity", title="Job activity")
def job_activity_table(since: date, until: date) -> Table:
    """Jobs by task and day, by the day they were asked for."""
    # Held at once, so that figures, chart and rows agree while jobs go on finishing: a line a day and task is little.
    activity = list(job_activity(since, until))
    days = [since + timedelta(days=number) for number in range((until - since).days + 1)]

    def by_day(state: str) -> list[int]:
        counts = dict.fromkeys(days, 0)
        for line in activity:
            counts[line.day] += getattr(line, state)
        return list(counts.values())

    def rows() -> Iterator[Row]:
        yield from activity

    succeeded, dead, cancelled, unfinished = map(by_day, ("succeeded", "dead", "cancelled", "unfinished"))
    ended = sum(succeeded) + sum(dead)
    # cut, not rounded: one dead job in ten thousand is not 100.0 %
    success_rate = f"{sum(succeeded) * 1000 // ended / 10} %" if ended else UNKNOWN
    return Table(
        title="Job activity",
        period=period_text(since, until),
        columns=[
            Column(name="day", heading="Day", kind="date"),
            Column(name="task", heading="Task"),
            Column(name="succeeded", heading="Succeeded", kind="integer", total=True),
            Column(name="dead", heading="Dead", kind="integer", total=True),
            Column(name="cancelled", heading="Cancelled", kind="integer", total=True),
            Column(name="unfinished", heading="Unfinished", kind="integer", total=True),
            Column(name="average_run_seconds", heading="Average run", kind="duration"),
        ],
        rows=rows,
        row_count=len(activity),
        generated_at=timezone.now(),
        figures=[
            Figure(heading="Jobs", value=f"{ended + sum(cancelled) + sum(unfinished):,}"),
            Figure(heading="Succeeded", value=f"{sum(succeeded):,}"),
            Figure(heading="Dead", value=f"{sum(dead):,}"),
            Figure(heading="Unfinished", value=f"{sum(unfinished):,}"),
            Figure(heading="Success rate", value=success_rate),
        ],
        chart=Chart(
            title="Jobs by day",
            labels=[f"{day:%-d %b}" for day in days],
            series=[
                Series(name="Succeeded", values=succeeded, tone="good"),
                Series(name="Dead", values=dead, tone="bad"),
                Series(name="Cancelled", values=cancelled, tone="quiet"),
                Series(name="Unfinished", values=unfinished, tone="open"),
            ],
        ),
    )
