"""Standing redirects: where dead letters of a task, or of a queue, are replayed instead."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from tasks.admin import markup
from tasks.admin.base import ReadOnlyAdmin
from tasks.admin.dead_letters.edits import queue_choices, task_choices
from tasks.admin.dead_letters.links import letters_url, page_context, require, url_of
from tasks.admin.forms import TypedInput
from tasks.dead_letters import query, redirects, search
from tasks.errors import InvalidJob
from tasks.models import Redirect
from tasks.permissions import missing
from tasks.registry import registry
from tasks.topology import TOPOLOGY


class RedirectForm(forms.Form):
    """Where from, where to, and why. What it comes from may be unknown here: that is often the reason for it."""

    from_task = forms.CharField(
        required=False,
        label="Of the task",
        help_text="Empty: of every task. A task that was renamed or taken away may be named too.",
        widget=TypedInput("text", list="known-tasks", autocomplete="off", spellcheck="false"),
    )
    from_queue = forms.CharField(
        required=False,
        label="That died on the queue",
        help_text="Empty: on every queue.",
        widget=TypedInput("text", list="known-queues", autocomplete="off", spellcheck="false"),
    )
    to_task = forms.ChoiceField(required=False, label="Run as", widget=UnfoldAdminSelectWidget)
    to_queue = forms.ChoiceField(required=False, label="On the queue", widget=UnfoldAdminSelectWidget)
    reason = forms.CharField(
        required=False,
        label="Why",
        help_text="Whoever replays later will ask.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
    )

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.fields["to_task"].choices = task_choices("The same task")  # type: ignore[attr-defined]
        self.fields["to_queue"].choices = queue_choices("The task's own queue")  # type: ignore[attr-defined]
        self.fields["reason"].is_needed = True  # type: ignore[attr-defined]


class RemoveForm(forms.Form):
    reason = forms.CharField(
        max_length=redirects.MAX_REASON,
        label="Why",
        help_text="It stands in the audit trail beside your name.",
        widget=TypedInput("text"),
        error_messages={"required": "Say why it is not needed any more."},
    )


@admin.register(Redirect)
class RedirectAdmin(ReadOnlyAdmin):
    list_display = ["way", "applies", "why", "by", "added", "remove"]
    list_display_links = ["way"]
    actions = None
    ordering = ["id"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return not missing(request.user, "dead_letters.redirect")

    # The list

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Standing redirects", **(extra_context or {})})

    @display(description="From and to")
    def way(self, redirect: Redirect) -> SafeString:
        return way(redirect)

    @display(description="Applies now to")
    def applies(self, redirect: Redirect) -> SafeString:
        found = search.count(redirects.matching(redirect))
        if not found.number:
            return SafeString('<span class="tp-quiet tp-nowrap">no letter</span>')
        return format_html(
            '<a class="tp-link tp-nowrap" href="{}">{}</a>',
            letters_url(asked_for(redirect)),
            f"{found} letter{'' if str(found) == '1' else 's'}",
        )

    @display(description="Why")
    def why(self, redirect: Redirect) -> SafeString:
        return format_html('<span class="tp-line" title="{}">{}</span>', redirect.reason, redirect.reason)

    @display(description="By")
    def by(self, redirect: Redirect) -> str:
        return redirect.created_by

    @display(description="Added")
    def added(self, redirect: Redirect) -> SafeString:
        return markup.moment(redirect.created_at)

    @display(description="")
    def remove(self, redirect: Redirect) -> SafeString:
        url = reverse("admin:tasks_redirect_delete", args=[redirect.pk])
        return format_html('<a class="tp-link" href="{}">Remove</a>', url)

    def get_list_display(self, request: HttpRequest) -> Any:
        may = not missing(request.user, "dead_letters.redirect")
        return self.list_display if may else self.list_display[:-1]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied("A redirect is never changed; it is removed, and another added.")
        if not self.has_view_permission(request):
            raise PermissionDenied
        may = not missing(request.user, "dead_letters.redirect")
        return self._page(request, self._redirect(object_id), RemoveForm() if may else None)

    # What people do

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        require(request, "dead_letters.redirect")
        form = RedirectForm(request.POST if request.method == "POST" else None, initial=request.GET.dict())
        if request.method == "POST" and form.is_valid():
            try:
                new = redirects.add(**form.cleaned_data, requested_by=request.user.get_username())
            except InvalidJob as error:
                for problem in error.problems:
                    known = problem["field"] in form.fields
                    message = problem["message"] if known else f"{problem['field']}: {problem['message']}"
                    form.add_error(problem["field"] if known else None, message)
            else:
                _offer(request, new)
                return HttpResponseRedirect(self._after(request))
        context = {
            **page_context(self, request),
            "title": "Redirect dead letters",
            "form": form,
            "known_tasks": [name for spec in registry for name in spec.names],
            "known_queues": TOPOLOGY.queue_names,
        }
        return TemplateResponse(request, "tasks/admin/redirect_add.html", context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        require(request, "dead_letters.redirect")
        redirect = self._redirect(object_id)
        form = RemoveForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            try:
                who = request.user.get_username()
                redirects.remove(redirect.pk, requested_by=who, reason=form.cleaned_data["reason"])
                messages.success(request, "The redirect is removed; what it has moved stays where it is.")
                return HttpResponseRedirect(self._after(request))
            except Redirect.DoesNotExist:
                messages.warning(request, "Somebody else has removed it a moment ago.")
                return HttpResponseRedirect(self._after(request))
            except InvalidJob as error:
                for problem in error.problems:
                    form.add_error("reason", problem["message"])
        return self._page(request, redirect, form)

    def _page(self, request: HttpRequest, redirect: Redirect, form: RemoveForm | None) -> HttpResponse:
        """All of a redirect, and the ``form`` that removes it."""
        context = {
            **page_context(self, request),
            "title": f"Redirect of {redirect.from_task or redirect.from_queue}",
            "way": way(redirect),
            "redirect": redirect,
            "added": markup.moment(redirect.created_at),
            "found": search.count(redirects.matching(redirect)),
            "letters_url": letters_url(asked_for(redirect)),
            "form": form,
            "why_not": missing(request.user, "dead_letters.redirect"),
        }
        return TemplateResponse(request, "tasks/admin/redirect.html", context)

    def _redirect(self, object_id: str) -> Redirect:
        try:
            return Redirect.objects.get(pk=int(unquote(object_id)))
        except (Redirect.DoesNotExist, ValueError, OverflowError):
            raise Http404 from None

    def _after(self, request: HttpRequest) -> str:
        """The list, or the dashboard for somebody who may redirect and not look at redirects."""
        return reverse("admin:tasks_redirect_changelist" if self.has_view_permission(request) else "admin:index")


def way(redirect: Redirect) -> SafeString:
    """From and to, with what is left open in words."""
    came = (redirect.from_task or "every task", redirect.from_queue or "every queue")
    goes = (redirect.to_task or "the same task", redirect.to_queue or "its own queue")
    mark = '<span class="material-symbols-outlined" aria-label="goes to">arrow_forward</span>'
    return format_html(
        '<span class="tp-way"><code>{}</code> on <code>{}</code> {} <code>{}</code> on <code>{}</code></span>',
        *came, SafeString(mark), *goes,
    )  # fmt: skip


def asked_for(redirect: Redirect) -> str:
    """What it applies to, as the text of a query."""
    text = ""
    for name, value in redirects.query_of(redirect).items():
        text = query.with_values(text, name, [value])
    return text


def _offer(request: HttpRequest, new: Redirect) -> None:
    """A redirect moves nothing by itself: what it applies to now waits for a replay."""
    found = search.count(redirects.matching(new))
    url = url_of("tasks_operation_start", verb="replay", q=asked_for(new))
    if not found.number or not url or missing(request.user, "operations.start", "dead_letters.replay"):
        messages.success(request, "The redirect stands, and every replay from now on follows it.")
        return
    letters = "the letter that it applies to" if str(found) == "1" else f"the {found} letters that it applies to"
    messages.success(
        request,
        format_html(
            'The redirect stands, and every replay from now on follows it. <a class="tp-link" href="{}">Replay {}</a>',
            url,
            letters,
        ),
    )
