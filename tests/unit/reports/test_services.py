from datetime import date
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage

from reports import services
from reports.datasets import DATASETS, Dataset
from reports.models import Report
from tests.unit.reports.tables import many, table

pytestmark = pytest.mark.django_db

SINCE, UNTIL = date(2026, 11, 17), date(2026, 11, 23)


@pytest.fixture
def orders(monkeypatch) -> list[object]:
    """The data set "orders"; the list grows with each time it is asked."""
    asked: list[object] = []

    def build(since, until):
        asked.append((since, until))
        return table(many(10), row_count=10)

    monkeypatch.setitem(DATASETS, "orders", Dataset(name="orders", title="Orders", build=build))
    return asked


def make(job_id=None, formats=("pdf",), step=lambda *told: None):
    return services.render_reports(
        job_id=job_id or uuid4(), dataset="orders", formats=formats, since=SINCE, until=UNTIL, step=step
    )


def stored_files() -> list[str]:
    names = []
    folders = ["reports"]
    while folders:
        folder = folders.pop()
        if default_storage.exists(folder):
            inner, files = default_storage.listdir(folder)
            names += [f"{folder}/{name}" for name in files]
            folders += [f"{folder}/{name}" for name in inner]
    return sorted(names)


def test_each_format_becomes_a_file_and_a_row(orders):
    pdf, csv = make(formats=("pdf", "csv"))

    assert (pdf.format, pdf.rows, pdf.pages) == ("pdf", 10, 1)
    assert (csv.format, csv.rows, csv.pages) == ("csv", 10, None)
    for report in Report.objects.all():
        data = report.file.read()
        assert len(data) == report.size_bytes
        assert (report.title, report.since, report.until) == ("Orders", SINCE, UNTIL)
    assert pdf.file.read().startswith(b"%PDF")


def test_all_formats_come_from_one_query(orders):
    make(formats=("pdf", "csv"))

    assert orders == [(SINCE, UNTIL)]


def test_progress_runs_over_all_formats(orders):
    told: list[object] = []

    make(formats=("pdf", "csv"), step=lambda *step: told.append(step))

    assert told == [(0, None, "Querying"), (10, 20, "Writing PDF"), (20, 20, "Writing CSV")]


def test_a_second_attempt_replaces_the_file_and_keeps_the_row(orders, django_capture_on_commit_callbacks):
    job_id = uuid4()
    (first,) = make(job_id)

    with django_capture_on_commit_callbacks(execute=True):
        (second,) = make(job_id)

    assert second.pk == first.pk
    assert second.file.name != first.file.name
    assert Report.objects.get().file.name == second.file.name
    assert stored_files() == [second.file.name]


def test_the_old_file_stays_until_the_new_row_is_certain(orders, monkeypatch):
    job_id = uuid4()
    (first,) = make(job_id)

    def fail(*args, **kwargs):
        raise OSError("database is gone")

    monkeypatch.setattr(Report, "save", fail)
    with pytest.raises(OSError, match="gone"):
        make(job_id)

    assert Report.objects.get().file.name == first.file.name
    assert first.file.name in stored_files()


def test_a_data_set_that_fails_leaves_no_row_and_no_file(monkeypatch):
    def build(since, until):
        def rows():
            yield from table().rows()
            raise RuntimeError("connection lost")

        return table(rows)

    monkeypatch.setitem(DATASETS, "orders", Dataset(name="orders", title="Orders", build=build))

    with pytest.raises(RuntimeError, match="connection lost"):
        make()

    assert not Report.objects.exists()
    assert stored_files() == []


def test_a_storage_that_can_not_be_written_leaves_no_row(orders, uploads):
    uploads.write_text("a file where the folder should be")

    with pytest.raises(OSError, match="uploads"):
        make()

    assert not Report.objects.exists()


def test_a_step_that_stops_leaves_no_row(orders):
    class Stopped(Exception):
        pass

    def step(done, total, note):
        if done:
            raise Stopped

    with pytest.raises(Stopped):
        make(step=step)

    assert not Report.objects.exists()


def test_a_title_longer_than_its_column_is_cut(monkeypatch):
    build = lambda since, until: table(title="t" * 300)  # noqa: E731
    monkeypatch.setitem(DATASETS, "orders", Dataset(name="orders", title="Orders", build=build))

    (report,) = make()

    assert report.title == "t" * 200


def test_a_deleted_report_takes_its_file_along(orders, django_capture_on_commit_callbacks):
    (report,) = make()

    with django_capture_on_commit_callbacks(execute=True):
        Report.objects.filter(pk=report.pk).delete()

    assert stored_files() == []
