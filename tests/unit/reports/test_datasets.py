from datetime import UTC, date, datetime, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured

from reports.datasets import DATASETS, dataset, period_text
from tasks.api import JobState, job_activity
from tests.unit.reports.tables import csv_lines, pdf_text
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db

MONDAY, TUESDAY = date(2026, 11, 16), date(2026, 11, 17)


def at(day: date, hour: int = 12, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


def succeeded(day: date, seconds: float, task: str = "email.send") -> None:
    begun = at(day)
    make_job(
        JobState.SUCCEEDED,
        task=task,
        created_at=begun,
        started_at=begun,
        finished_at=begun + timedelta(seconds=seconds),
    )


def test_jobs_are_counted_by_day_and_task():
    succeeded(MONDAY, 1.0)
    succeeded(MONDAY, 2.0)
    succeeded(TUESDAY, 0.5)
    succeeded(MONDAY, 9.0, task="sms.send")
    for state in JobState:
        make_job(state, task="sms.send", created_at=at(MONDAY))

    assert list(job_activity(MONDAY, TUESDAY)) == [
        (MONDAY, "email.send", 2, 0, 0, 0, 1.5),
        (MONDAY, "sms.send", 2, 1, 1, 4, 9.0),
        (TUESDAY, "email.send", 1, 0, 0, 0, 0.5),
    ]


def test_both_days_are_included_to_their_last_moment_in_utc():
    for created_at in (
        at(MONDAY) - timedelta(hours=12, microseconds=1),
        at(MONDAY, hour=0),
        at(TUESDAY, hour=23, minute=59),
        at(TUESDAY) + timedelta(hours=12),
    ):
        make_job(created_at=created_at)

    assert [(line.day, line.unfinished) for line in job_activity(MONDAY, TUESDAY)] == [(MONDAY, 1), (TUESDAY, 1)]


def test_the_mean_run_is_unknown_where_nothing_succeeded():
    make_job(JobState.DEAD, created_at=at(MONDAY), started_at=at(MONDAY))

    assert [line.average_run_seconds for line in job_activity(MONDAY, MONDAY)] == [None]


def test_counting_takes_one_query(django_assert_num_queries):
    succeeded(MONDAY, 1)

    with django_assert_num_queries(1):
        list(job_activity(MONDAY, TUESDAY))


def test_job_activity_is_a_table_with_a_bar_for_each_day():
    succeeded(MONDAY, 1.0)
    make_job(JobState.DEAD, task="sms.send", created_at=at(MONDAY))
    make_job(created_at=at(TUESDAY + timedelta(days=1)))

    made = DATASETS["job-activity"].build(MONDAY, TUESDAY + timedelta(days=1))

    assert made.period == "16 Nov 2026 – 18 Nov 2026"  # noqa: RUF001
    assert made.row_count == len(list(made.rows())) == len(list(made.rows())) == 3
    assert made.chart.labels == ["16 Nov", "17 Nov", "18 Nov"]
    assert {series.name: list(series.values) for series in made.chart.series} == {
        "Succeeded": [1, 0, 0],
        "Dead": [1, 0, 0],
        "Cancelled": [0, 0, 0],
        "Unfinished": [0, 0, 1],
    }
    assert [(figure.heading, figure.value) for figure in made.figures] == [
        ("Jobs", "3"),
        ("Succeeded", "1"),
        ("Dead", "1"),
        ("Unfinished", "1"),
        ("Success rate", "50.0 %"),
    ]


def test_job_activity_is_rendered_in_both_formats():
    succeeded(MONDAY, 90)
    made = DATASETS["job-activity"].build(MONDAY, MONDAY)

    assert csv_lines(made)[1] == ["2026-11-16", "email.send", "1", "0", "0", "0", "90.0"]
    assert "1 min 30 s" in pdf_text(made)


def test_job_activity_of_a_quiet_period_is_an_empty_table():
    made = DATASETS["job-activity"].build(MONDAY, TUESDAY)

    assert made.row_count == 0
    assert "There is nothing to report" in pdf_text(made)


def test_one_day_is_named_once():
    assert period_text(MONDAY, MONDAY) == "16 Nov 2026"


def test_a_name_stands_for_one_data_set():
    with pytest.raises(ImproperlyConfigured, match="job-activity"):
        dataset("job-activity", title="Again")(lambda since, until: None)
