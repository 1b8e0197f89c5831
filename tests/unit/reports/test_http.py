"""/reports: ask, list, read, download."""

from datetime import date

import pytest
from django.core.files.base import ContentFile

from reports.models import Report
from tasks.models import Job
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db

GOOD = {"dataset": "job-activity", "formats": ["pdf", "xlsx"], "since": "2026-11-01", "until": "2026-11-07"}


def made(owner: str, *, format: str = "csv", content: bytes = b"a,b\r\n") -> Report:
    report = Report(
        job_id=make_job(task="report.render", requested_by=owner).pk,
        requested_by=owner,
        dataset="job-activity",
        format=format,
        since=date(2026, 11, 1),
        until=date(2026, 11, 7),
        title="Job activity",
        size_bytes=len(content),
        rows=1,
    )
    report.file.save(report.download_name, ContentFile(content), save=False)
    report.save()
    return report


def test_a_report_is_a_job_of_the_same_payload(caller):
    response = caller().post("/api/v1/reports", {**GOOD, "priority": "high", "metadata": {"a": 1}})

    assert response.status_code == 202, response.content
    job = Job.objects.get()
    assert response["Location"] == f"/api/v1/jobs/{job.pk}"
    assert (job.task, job.payload, job.priority, job.metadata) == ("report.render", GOOD, "high", {"a": 1})


def test_the_same_key_and_body_are_the_same_job_and_another_body_is_refused(caller):
    ann = caller()
    answers = [ann.post("/api/v1/reports", {"dataset": "job-activity"}, Idempotency_Key="k") for _ in range(2)]
    other = ann.post("/api/v1/reports", {"dataset": "job-activity", "formats": ["csv"]}, Idempotency_Key="k")

    assert [answer.status_code for answer in answers] == [202, 202]
    assert Job.objects.count() == 1
    assert other.status_code == 422


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dataset": "sales"}, "dataset"),
        ({"formats": ["doc"]}, "formats.0"),
        ({"until": "2026-01-01"}, "since"),
        ({"colour": "red"}, "colour"),
        ({"priority": "urgent"}, "priority"),
        ({"delay_seconds": "5"}, "delay_seconds"),
    ],
)
def test_what_is_wrong_is_named_by_its_field_and_nothing_is_kept(caller, change, field):
    response = caller().post("/api/v1/reports", {**GOOD, **change})

    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert not Job.objects.exists()


def test_a_list_has_the_callers_own_reports_and_filters_them(caller):
    ann = caller("ann")
    mine = [made(ann.owner), made(ann.owner, format="pdf")]
    made("token:bob")

    listed = ann.get("/api/v1/reports").json()["items"]
    assert [item["id"] for item in listed] == [str(report.pk) for report in reversed(mine)]
    assert [item["format"] for item in ann.get("/api/v1/reports?format=csv").json()["items"]] == ["csv"]
    assert len(ann.get(f"/api/v1/reports?job={mine[0].job_id}").json()["items"]) == 1
    assert ann.get("/api/v1/reports?format=doc").status_code == 422


def test_a_file_is_an_attachment_that_no_browser_takes_for_a_page(caller):
    ann = caller("ann")
    report = made(ann.owner, content=b"<script>")
    shown = ann.get(f"/api/v1/reports/{report.pk}").json()

    response = ann.get(shown["file"])
    assert b"".join(response.streaming_content) == b"<script>"
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"].startswith("attachment; filename=")
    assert response["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("address", ["/api/v1/reports/{}", "/api/v1/reports/{}/file"])
def test_somebody_elses_report_is_not_found_unless_all_may_be_seen(caller, address):
    report = made("token:bob")

    assert caller("ann").get(address.format(report.pk)).status_code == 404
    assert caller("eve", "jobs:read", "jobs:read_all").get(address.format(report.pk)).status_code == 200


def test_staff_need_the_permission_that_the_admin_asks_for(staff):
    report = made("token:bob")

    assert staff("view_job").get(f"/api/v1/reports/{report.pk}").status_code == 403
    assert staff("view_job", "view_report", name="eve").get(f"/api/v1/reports/{report.pk}").status_code == 200


def test_a_file_that_is_gone_is_not_found(caller):
    ann = caller("ann")
    report = made(ann.owner)
    report.file.storage.delete(str(report.file))

    response = ann.get(f"/api/v1/reports/{report.pk}/file")
    assert response.status_code == 404
    assert "gone from the storage" in response.json()["detail"]
