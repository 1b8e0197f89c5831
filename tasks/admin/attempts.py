"""Attempts as django-celery-results keeps them: one record for each run of a job, read-only."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_celery_results.models import GroupResult, TaskResult
from unfold.decorators import display

from tasks import words
from tasks.admin import markup
from tasks.admin.base import ReadOnlyAdmin, SelectFilter
from tasks.attempts import error_line
from tasks.dead_letters.masking import Mask, mask_of
from tasks.models import Job
from tasks.registry import registry

_BADGES = {
    "SUCCESS": ("Succeeded", "succeeded", "check"),
    "FAILURE": ("Failed", "dead", "close"),
    "RETRY": ("Failed, retried", "retrying", "replay"),
    "REVOKED": ("Cancelled", "cancelled", "block"),
    "IGNORED": ("Too late to count", "quiet", "history"),
    "STARTED": ("Running", "running", "play_arrow"),
    "HANDED_BACK": ("Handed back, unspent", "quiet", "undo"),
    "NEVER_BEGAN": ("Never began", "quiet", "hourglass_disabled"),
    "UNKNOWN": ("No record", "quiet", "question_mark"),
}

_WITHOUT_RECORD = ("STARTED", "HANDED_BACK", "NEVER_BEGAN", "UNKNOWN")


def status_badge(status: str) -> SafeString:
    return markup.badge(*_BADGES.get(status, (status.capitalize(), "quiet", "")))


def took_seconds(row: Any) -> float | None:
    begun, ended = row.date_started, row.date_done
    return (ended - begun).total_seconds() if begun and ended and ended >= begun else None


class StatusFilter(SelectFilter):
    title = "outcome"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status, label) for status, (label, *_) in _BADGES.items() if status not in _WITHOUT_RECORD]


class AttemptTaskFilter(SelectFilter):
    title = "task"
    parameter_name = "task_name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(spec.name, spec.title) for spec in registry]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(task_name__in=registry.names_of(name)) if (name := self.value()) else queryset


class AttemptAdmin(ReadOnlyAdmin):
    list_display = ["attempt", "status_shown", "worker", "took", "ended"]
    list_display_links = ["attempt"]
    list_filter = [StatusFilter, AttemptTaskFilter]
    search_fields = ["task_id"]
    search_help_text = "Job id, or job id and attempt number"
    ordering = ["-id"]
    fields = [
        "job",
        "task_name",
        "status_shown",
        "worker",
        "took",
        "date_started",
        "date_done",
        "error",
        "traceback_shown",
    ]
    readonly_fields = ["job", "status_shown", "took", "error", "traceback_shown"]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer("traceback", "task_args", "task_kwargs", "meta")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        term = search_term.strip()
        return (queryset.filter(task_id__startswith=term) if term else queryset), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Attempts", **(extra_context or {})})

    @display(description="Attempt")
    def attempt(self, row: TaskResult) -> SafeString:
        job_id, _, number = row.task_id.rpartition(".")
        return format_html(
            '{}<span class="tp-id" title="{}">{}…{}, attempt {}</span>',
            words.task_title(row.task_name or "unknown task"), row.task_id, job_id[:8], job_id[-4:], number,
        )  # fmt: skip

    @display(description="Job")
    def job(self, row: TaskResult) -> SafeString:
        job_id = row.task_id.rpartition(".")[0]
        return markup.job_link(job_id, row.task_id) if job_id else format_html("{}", row.task_id)

    @display(description="Outcome")
    def status_shown(self, row: TaskResult) -> SafeString:
        return status_badge(row.status)

    @display(description="Took")
    def took(self, row: TaskResult) -> str | SafeString:
        seconds = took_seconds(row)
        return markup.NOTHING if seconds is None else words.duration(seconds)

    @display(description="Ended")
    def ended(self, row: TaskResult) -> SafeString:
        return markup.moment(row.date_done)

    @display(description="Error")
    def error(self, row: TaskResult) -> str | SafeString:
        return _mask_of(row).text(error_line(row)) or markup.NOTHING

    @display(description="Traceback")
    def traceback_shown(self, row: TaskResult) -> SafeString:
        if not row.traceback:
            return markup.NOTHING
        return format_html('<pre class="tp-code">{}</pre>', words.shortened(_mask_of(row).text(row.traceback)))


def _mask_of(row: TaskResult) -> Mask:
    """What the attempt's job hides: an error likes to quote it."""
    job_id = row.task_id.rpartition(".")[0]
    try:
        return mask_of(Job.objects.get(pk=job_id))
    except (Job.DoesNotExist, ValidationError):  # a task of somebody else's: its id is any text
        return Mask()


def register() -> None:
    """Take both models from their own admin: unstyled, and editable. Groups are not used here."""
    from django_celery_results import admin as replaced  # noqa: F401  registered before it can be unregistered

    for model in (TaskResult, GroupResult):
        if admin.site.is_registered(model):
            admin.site.unregister(model)
    admin.site.register(TaskResult, AttemptAdmin)
