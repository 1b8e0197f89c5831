"""Operations on many: the list, the live page, and what people do to one that goes on."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from tasks.admin import markup, queues
from tasks.admin.base import CreatedFilter, ReadOnlyAdmin, SelectFilter
from tasks.admin.dead_letters import progress, starting
from tasks.admin.jobs import STOP_POLLING
from tasks.dead_letters import operations
from tasks.errors import IllegalTransition
from tasks.models import Operation
from tasks.permissions import missing, of_operation

ASKED: dict[str, tuple[str, str, str]] = {
    "pause": ("Pause it?", "Nothing more is sent until somebody resumes it. What runs, runs on.", "Yes, pause it"),
    "resume": ("Resume it?", "It goes on where it stands, with the pace that it was started with.", "Yes, resume it"),
    "cancel": (
        "Cancel it?",
        "What it has not sent yet stays as it is, and can be sent by another operation. What it has sent stays sent. "
        "A cancelled operation can not be resumed.",
        "Yes, cancel it",
    ),
}
TOLD = {"pause": "It is paused.", "resume": "It goes on.", "cancel": "It is cancelled."}


class VerbFilter(SelectFilter):
    title = "verb"
    parameter_name = "verb"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return Operation.Verb.choices


class OperationStateFilter(SelectFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return Operation.State.choices


class StartedFilter(CreatedFilter):
    title = "started"


@admin.register(Operation)
class OperationAdmin(ReadOnlyAdmin):
    list_display = ["operation", "state_of", "progress_of", "about", "by", "started"]
    list_display_links = ["operation"]
    list_filter = [OperationStateFilter, VerbFilter, StartedFilter]
    change_form_template = "tasks/admin/operation.html"
    fields: Any = []

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("start/", view(self.start), name="tasks_operation_start"),
            path("purge/<str:queue>/", view(self.purge), name="tasks_queue_purge"),
            path("<uuid:operation_id>/live/", view(self.live), name="tasks_operation_live"),
            path("<uuid:operation_id>/undo/", view(self.undo), name="tasks_operation_undo"),
            *(
                path(
                    f"<uuid:operation_id>/{verb}/", view(self.act), {"verb": verb}, name=f"tasks_operation_{verb}"
                )
                for verb in ASKED
            ),
            *super().get_urls(),
        ]  # fmt: skip

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("undoes")

    @display(description="Operation")
    def operation(self, operation: Operation) -> str:
        return progress.title(operation)

    @display(description="State")
    def state_of(self, operation: Operation) -> SafeString:
        return progress.state_badge(operation)

    @display(description="Progress")
    def progress_of(self, operation: Operation) -> SafeString:
        return format_html(
            '<span class="tp-progress">{}<span class="tp-progress-text">{}</span></span>',
            progress.bar(progress.parts(operation)),
            progress.in_words(operation),
        )

    @display(description="About")
    def about(self, operation: Operation) -> SafeString:
        text = progress.subject(operation)
        return format_html('<span class="tp-line" title="{}">{}</span>', text[:500], text[:200])

    @display(description="By")
    def by(self, operation: Operation) -> str:
        return operation.requested_by

    @display(description="Started")
    def started(self, operation: Operation) -> SafeString:
        return markup.moment(operation.created_at)

    # Before there is one

    def start(self, request: HttpRequest) -> HttpResponse:
        return starting.start(self, request)

    def purge(self, request: HttpRequest, queue: str) -> HttpResponse:
        return queues.purge(self, request, queue)

    def undo(self, request: HttpRequest, operation_id: UUID) -> HttpResponse:
        return starting.undo(self, request, get_object_or_404(Operation, pk=operation_id))

    # The page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        operation = self.get_object(request, object_id)
        context: dict[str, Any] = {}
        if operation is not None and self.has_view_permission(request):
            context = {
                **progress.moving(operation),
                **progress.resting(operation),
                "stops": progress.stop_words(operation),
                "buttons": progress.page_buttons(request, operation),
                "undoable_until": progress.undoable_until(operation),
                "items": progress.items(operation, request.GET.get("items", "")),
            }
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def live(self, request: HttpRequest, operation_id: UUID) -> HttpResponse:
        """What has moved since the ``seen`` of the one who asks: nothing, mostly, and then one row was read."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        operation = get_object_or_404(Operation, pk=operation_id)
        before = request.GET.get("seen", "")
        status = 200 if operation.finished_at is None else STOP_POLLING
        if before == progress.seen(operation):
            response = HttpResponse(status=204 if status == 200 else status)
        else:
            context = {**progress.moving(operation), "swap": True, "on_first_items": "first" in request.GET}
            if before.split(".")[:2] != [operation.state, str(operation.step)]:
                context["is_news"] = True  # else a screen reader would read the same again and again
                context["buttons"] = progress.page_buttons(request, operation)
                context["undoable_until"] = progress.undoable_until(operation)
            if context["on_first_items"]:
                context["items"] = progress.items(operation)
            response = render(request, "tasks/admin/operation_live.html", context, status=status)
        response["Cache-Control"] = "no-store"
        return response

    # What people do to it

    def act(self, request: HttpRequest, operation_id: UUID, verb: str) -> HttpResponse:
        """Pause, resume or cancel: GET asks, POST does."""
        operation = get_object_or_404(Operation, pk=operation_id)
        if why_not := missing(request.user, f"operations.{verb}", of_operation(operation.verb)):
            raise PermissionDenied(why_not)
        if request.method == "POST":
            return self._done(request, operation, verb)
        question, what_happens, yes = ASKED[verb]
        context = {
            **self.admin_site.each_context(request),
            "is_nav_sidebar_enabled": True,
            "title": progress.title(operation),
            "question": question,
            "what_happens": what_happens,
            "yes": yes,
            "is_danger": verb == "cancel",
            "parts": [part for part in progress.parts(operation) if part.number],
            "back": reverse("admin:tasks_operation_change", args=[operation.pk]),
        }
        return TemplateResponse(request, "tasks/admin/operation_act.html", context)

    def _done(self, request: HttpRequest, operation: Operation, verb: str) -> HttpResponse:
        act = {"pause": operations.pause, "resume": operations.resume, "cancel": operations.cancel}[verb]
        try:
            act(operation.pk, requested_by=request.user.get_username())
        except IllegalTransition as error:
            messages.warning(request, f"Nothing was changed: {error}.")
        else:
            messages.success(request, TOLD[verb])
        return HttpResponseRedirect(reverse("admin:tasks_operation_change", args=[operation.pk]))
