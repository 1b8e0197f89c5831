"""/reports: ask for one, list those that were made, download their files."""

from datetime import date, datetime
from uuid import UUID

from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from ninja import Router
from typing_extensions import TypedDict

from reports.models import Report
from reports.renderers import CONTENT_TYPES, Format
from reports.tasks import ReportPayload
from tasks.http.door import (
    JobOptions,
    JobOut,
    PageOut,
    PageQuery,
    Text,
    accept_payload,
    allowed,
    answer,
    answer_page,
    cursor_of,
    documented,
    file_answer,
    file_documented,
    page,
    page_documented,
    read_query,
    require_view,
    visible,
)

router = Router(tags=["reports"])


class ReportIn(JobOptions, ReportPayload):
    """The report, and when it is made."""


class ReportsQuery(PageQuery):
    job: UUID | None = None
    dataset: Text | None = None
    format: Format | None = None


class ReportOut(TypedDict):
    id: UUID
    job: UUID
    dataset: str
    format: str
    title: str
    since: date
    until: date
    rows: int
    pages: int | None
    size_bytes: int
    requested_by: str
    created_at: datetime
    file: str


@router.post(
    "/reports",
    response={200: JobOut, 202: JobOut},
    auth=allowed("jobs.enqueue"),
    summary="Ask for a report",
    openapi_extra=documented(ReportIn),
)
def create_report(request: HttpRequest) -> HttpResponse:
    """A job of `report.render`. Its result names each report with the address of its file."""
    return accept_payload(request, "report.render", ReportIn)


@router.get(
    "/reports",
    response=PageOut[ReportOut],
    auth=allowed("jobs.view"),
    summary="List reports",
    openapi_extra=page_documented(ReportsQuery),
)
def list_reports(request: HttpRequest) -> HttpResponse:
    """The newest first; what is somebody else's only for who may see it."""
    require_view(request, Report)
    given = read_query(request, ReportsQuery)
    wanted = {"job_id": given.job, "dataset": given.dataset, "format": given.format}
    rows = visible(request, Report.objects.filter(**{name: value for name, value in wanted.items() if value}))
    return answer_page(request, page(rows, limit=given.limit, cursor=cursor_of(given, UUID)), _shown)


@router.get("/reports/{uuid:report_id}", response=ReportOut, auth=allowed("jobs.view"), summary="Read a report")
def read_report(request: HttpRequest, report_id: UUID) -> HttpResponse:
    return answer(_shown(_readable(request, report_id)))


@router.get(
    "/reports/{uuid:report_id}/file",
    auth=allowed("jobs.view"),
    summary="Download a report",
    openapi_extra=file_documented(*CONTENT_TYPES.values()),
)
def read_report_file(request: HttpRequest, report_id: UUID) -> FileResponse:
    """An attachment: what a data set says is no page of this site."""
    report = _readable(request, report_id)
    content_type = CONTENT_TYPES.get(report.format, "application/octet-stream")  # type: ignore[call-overload]
    return file_answer(report.file, name=report.download_name, content_type=content_type)


def _readable(request: HttpRequest, report_id: UUID) -> Report:
    require_view(request, Report)
    report = visible(request, Report.objects.all()).filter(pk=report_id).first()
    if report is None:
        raise Http404(f"there is no report {report_id}")
    return report


def _shown(report: Report) -> ReportOut:
    return {
        "id": report.id,
        "job": report.job_id,
        "dataset": report.dataset,
        "format": report.format,
        "title": report.title,
        "since": report.since,
        "until": report.until,
        "rows": report.rows,
        "pages": report.pages,
        "size_bytes": report.size_bytes,
        "requested_by": report.requested_by,
        "created_at": report.created_at,
        "file": report.address,
    }
