from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import ValidationError

from reports.datasets import DATASETS, Dataset
from reports.models import Report
from reports.tasks import MAX_DAYS, ReportPayload, render
from tasks.api import InvalidJob, JobCancelled, JobContext, JobState, enqueue
from tasks.models import Job
from tasks.registry import registry
from tests.unit.tasks.factories import make_job


def today() -> date:
    return datetime.now(UTC).date()


def faults(**values) -> dict[str, str]:
    """Field -> message of what ``values`` do wrong."""
    with pytest.raises(ValidationError) as caught:
        ReportPayload.model_validate({"dataset": "job-activity", **values})
    return {".".join(map(str, fault["loc"])): fault["msg"] for fault in caught.value.errors()}


def test_the_period_is_the_last_seven_days_unless_told_otherwise():
    payload = ReportPayload(dataset="job-activity")

    assert payload.formats == ["pdf"]
    assert payload.until in (today(), today() - timedelta(days=1))  # midnight may pass between the two
    assert payload.until - payload.since == timedelta(days=6)


def test_a_last_day_alone_means_the_seven_days_that_end_with_it():
    assert ReportPayload(dataset="job-activity", until="2026-03-10").since == date(2026, 3, 4)


def test_a_stored_payload_keeps_its_days():
    stored = ReportPayload(dataset="job-activity", since="2026-03-01", until="2026-03-31").model_dump(mode="json")

    assert ReportPayload.model_validate(stored).model_dump(mode="json") == stored


def test_a_wrong_data_set_is_told_which_there_are():
    message = faults(dataset="sales")["dataset"]

    assert "'sales'" in message
    assert "job-activity" in message


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"since": "2026-11-24", "until": "2026-11-23"}, "since"),
        ({"since": "2025-01-01", "until": "2026-01-02"}, "since"),
        ({"since": "1999-12-31"}, "since"),
        ({"until": "9999-12-31"}, "until"),
        ({"until": "yesterday"}, "until"),
        ({"formats": []}, "formats"),
        ({"formats": ["pdf", "pdf"]}, "formats"),
        ({"formats": ["docx"]}, "formats.0"),
    ],
)
def test_a_fault_names_its_field(values, field):
    assert list(faults(**values)) == [field]


def test_a_leap_year_is_the_longest_period():
    until = date(2024, 12, 31)

    assert ReportPayload(dataset="job-activity", since=until - timedelta(days=MAX_DAYS - 1), until=until)
    assert "367" in faults(since=until - timedelta(days=MAX_DAYS), until=until)["since"]


def test_the_schema_tells_forms_everything(monkeypatch):
    monkeypatch.setitem(DATASETS, "added-later", Dataset(name="added-later", title="", build=lambda *days: None))

    fields = ReportPayload.model_json_schema()["properties"]

    assert fields["dataset"]["enum"] == ["added-later", "job-activity"]
    assert fields["formats"]["items"]["enum"] == ["pdf", "xlsx", "csv"]
    assert (fields["formats"]["minItems"], fields["formats"]["uniqueItems"]) == (1, True)
    assert fields["since"]["format"] == fields["until"]["format"] == "date"
    assert all(field["title"] and field["description"] for field in fields.values())


def test_the_task_is_registered_with_its_queue_and_limits():
    spec = registry.get("report.render")

    assert (spec.queue.name, spec.retry.max_attempts, spec.time_limit_seconds) == ("report-queue", 3, 600)
    assert spec.title == "Report"


@pytest.mark.django_db
def test_an_enqueue_with_a_wrong_period_names_the_field():
    with pytest.raises(InvalidJob) as caught:
        enqueue("report.render", {"dataset": "job-activity", "since": "2026-11-24", "until": "2026-11-23"})

    assert caught.value.problems == [{"field": "payload.since", "message": "is after the last day, 2026-11-23"}]


def running() -> JobContext:
    job = make_job(JobState.RUNNING, task="report.render")
    return JobContext(job.pk, 1, task="report.render", metadata={}, requested_by="")


@pytest.mark.django_db
def test_the_result_lists_the_reports():
    context = running()

    result = render(ReportPayload(dataset="job-activity", formats=["csv", "pdf"]), context)

    reports = {report.format: report for report in Report.objects.filter(job_id=context.job_id)}
    assert [listed["format"] for listed in result["reports"]] == ["csv", "pdf"]
    for listed in result["reports"]:
        report = reports[listed["format"]]
        assert listed == {
            "id": str(report.pk),
            "format": report.format,
            "size_bytes": report.size_bytes,
            "pages": report.pages,
            "rows": 1,
            "url": f"/api/v1/reports/{report.pk}/file",
        }


@pytest.mark.django_db
def test_a_cancelled_job_makes_no_report():
    context = running()
    Job.objects.filter(pk=context.job_id).update(cancel_requested_at=datetime.now(UTC))

    with pytest.raises(JobCancelled):
        render(ReportPayload(dataset="job-activity"), context)

    assert not Report.objects.exists()
