"""Reports to look at, and the only way to their files."""

from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display

from reports.models import Report
from reports.renderers import CONTENT_TYPES


@admin.register(Report)
class ReportAdmin(ModelAdmin):
    """Jobs make reports, people read them and may delete them."""

    list_display = ["title", "format_badge", "period", "rows", "pages", "size", "created_at", "download"]
    list_filter = ["format", "dataset"]
    list_per_page = 50
    search_fields = ["title", "dataset", "job_id"]
    date_hierarchy = "created_at"
    fields = ["title", "dataset", "format_badge", "period", "rows", "pages", "size", "created_at", "job", "download"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    @display(description="format", ordering="format", label={"PDF": "info", "XLSX": "warning", "CSV": "success"})
    def format_badge(self, report: Report) -> str:
        return report.format.upper()

    @admin.display(description="period", ordering="since")
    def period(self, report: Report) -> str:
        return f"{report.since} to {report.until}"

    @admin.display(description="size", ordering="size_bytes")
    def size(self, report: Report) -> str:
        return filesizeformat(report.size_bytes)

    @admin.display(description="file")
    def download(self, report: Report) -> SafeString:
        return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">Download</a>', report.file_path)

    @admin.display(description="job", ordering="job_id")
    def job(self, report: Report) -> SafeString:
        url = reverse("admin:tasks_job_change", args=[report.job_id])
        return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">{}</a>', url, report.job_id)

    def get_urls(self) -> list[URLPattern]:
        file = path("<uuid:report_id>/file/", self.admin_site.admin_view(self.file), name="reports_report_file")
        return [file, *super().get_urls()]

    def file(self, request: HttpRequest, report_id: UUID) -> FileResponse:
        """The stored file, for staff who may view reports."""
        if not request.user.has_perm("reports.view_report"):
            raise PermissionDenied
        report = get_object_or_404(Report, pk=report_id)
        try:
            stored = report.file.open("rb")
        except FileNotFoundError:
            raise Http404(f"the file of report {report_id} is gone from the storage") from None
        # An attachment, never shown in place: what a data set says is no page of this site.
        response = FileResponse(stored, as_attachment=True, filename=report.download_name)
        response["Content-Type"] = CONTENT_TYPES.get(report.format, "application/octet-stream")  # type: ignore[call-overload]
        return response
