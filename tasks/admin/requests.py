"""The desk of requests: who waits for a reply and for how long, who gave up, and what is kept for them."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import display

from tasks import requests, words
from tasks.admin import markup
from tasks.admin.base import ReadOnlyAdmin, SelectFilter
from tasks.models import Request
from tasks.states import FINAL


def condition(request: Request) -> tuple[str, str, str]:
    """Text, colour and icon of its badge."""
    if request.answered_at is not None:
        return "Answered", "ok", "check"
    if request.fetched_at is not None:
        return "Fetched late", "ok", "schedule"
    gave_up = request.timed_out_at is not None or (
        request.deadline_at is not None and request.deadline_at <= timezone.now()
    )
    if gave_up or request.trouble:
        kept = ", reply kept" if request.job.is_final else ""
        return ("Timed out" if gave_up else "Undeliverable") + kept, "bad", "timer_off" if gave_up else "link_off"
    return "Waiting", "running", "hourglass_empty"


_UNANSWERED = Q(answered_at=None, fetched_at=None)


class ConditionFilter(SelectFilter):
    title = "condition"
    parameter_name = "condition"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("waiting", "Waiting"),
            ("timed_out", "Timed out"),
            ("undeliverable", "Undeliverable"),
            ("kept", "Late reply kept"),
            ("answered", "Answered"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        gave_up = Q(timed_out_at__isnull=False) | Q(deadline_at__lte=timezone.now())
        wanted = {
            "waiting": _UNANSWERED & Q(trouble="") & ~gave_up,
            "timed_out": _UNANSWERED & gave_up,
            "undeliverable": _UNANSWERED & ~Q(trouble=""),
            "kept": _UNANSWERED & (gave_up | ~Q(trouble="")) & Q(job__state__in=FINAL),
            "answered": Q(answered_at__isnull=False),
        }
        return queryset.filter(wanted[self.value() or ""]) if self.value() in wanted else queryset


@admin.register(Request)
class RequestAdmin(ReadOnlyAdmin):
    list_display = ["correlation", "condition", "took", "job_shown", "task", "requested_by", "asked"]
    list_display_links = None
    list_filter = [ConditionFilter]
    list_select_related = ["job"]
    search_fields = ["=correlation_id", "=requested_by", "=reply_to"]
    search_help_text = "Correlation id, who asked, or the queue they wait at"
    change_list_template = "tasks/admin/requests.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"desk": _desk(), **(extra_context or {})})

    @display(description="Correlation id")
    def correlation(self, request: Request) -> str | SafeString:
        return request.correlation_id or markup.NOTHING

    @display(description="Condition")
    def condition(self, request: Request) -> SafeString:
        return markup.badge(*condition(request))

    @display(description="Took")
    def took(self, request: Request) -> str:
        """Until the answer, or until now."""
        end = request.answered_at or request.timed_out_at or request.fetched_at or timezone.now()
        return words.duration((end - request.asked_at).total_seconds())

    @display(description="Job")
    def job_shown(self, request: Request) -> SafeString:
        return markup.job_link(request.job_id, markup.state_badge(request.job.state))

    @display(description="Task")
    def task(self, request: Request) -> str:
        return request.job.task

    @display(description="Asked")
    def asked(self, request: Request) -> SafeString:
        return markup.moment(request.asked_at)


def _desk() -> dict[str, Any]:
    desk = requests.desk()
    oldest = f"oldest {words.relative(desk.oldest_at, timezone.now())}" if desk.oldest_at else ""
    return {
        "tiles": [
            _tile("Waiting", desk.waiting, "waiting", oldest),
            _tile("Timed out", desk.timed_out, "timed_out", "last hour", bad=True),
            _tile("Undeliverable", desk.undeliverable, "undeliverable", "last hour", bad=True),
            _tile("Late replies kept", desk.unfetched, "kept", "last hour", bad=True),
        ],
        "latencies": [
            {
                "task": each.task,
                "replies": f"{each.replies:,}",
                "values": [words.duration(value) for value in (each.p50, each.p95, each.p99)],
            }
            for each in desk.latencies
        ],
    }


def _tile(label: str, count: int, condition: str, note: str, *, bad: bool = False) -> dict[str, str]:
    state = ("dead" if bad else "running") if count else "quiet"
    return {"label": label, "count": f"{count:,}", "note": note, "url": f"?condition={condition}", "state": state}
