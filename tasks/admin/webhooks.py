"""Webhook endpoints: who is told of what, with which secret, and what became of it."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminSelectMultipleWidget, UnfoldBooleanWidget

from tasks.admin import markup
from tasks.admin.base import ReadOnlyAdmin, SelectFilter
from tasks.admin.buttons import Button, button
from tasks.admin.dead_letters.links import page_context, require
from tasks.admin.forms import TypedInput
from tasks.audit import MAX_REASON
from tasks.errors import IllegalTransition, InvalidJob
from tasks.models import WebhookDelivery, WebhookEndpoint
from tasks.permissions import missing
from tasks.webhooks import endpoints
from tasks.webhooks.endpoints import KEEP_OLD_HOURS, LONGEST_KEEP_HOURS

MOST_DELIVERIES = 20


class EndpointForm(forms.Form):
    """What may be changed later as well."""

    url = forms.CharField(
        label="URL", help_text="https, and a public address.", widget=TypedInput("url", placeholder="https://")
    )
    events = forms.MultipleChoiceField(
        choices=[(value, f"{value}: {label}") for value, label in WebhookEndpoint.Event.choices],
        label="It is told of",
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    tasks = forms.MultipleChoiceField(
        required=False,
        label="Only jobs of these tasks",
        help_text="None chosen: of all. Batches are told whatever is chosen.",
        widget=UnfoldAdminSelectMultipleWidget,
    )
    description = forms.CharField(
        required=False, max_length=200, help_text="For people: whose it is.", widget=TypedInput("text")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tasks"].choices = [(name, name) for name in endpoints.known_tasks()]  # type: ignore[attr-defined]


class AddForm(EndpointForm):
    hears_all = forms.BooleanField(
        required=False,
        label="Of everybody's jobs, and not only of mine",
        widget=UnfoldBooleanWidget,
    )

    def __init__(self, user: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if why_not := missing(user, "webhooks.hear_all"):
            self.fields["hears_all"].disabled = True
            self.fields["hears_all"].help_text = why_not


class RotateForm(forms.Form):
    keep_old_hours = forms.FloatField(
        initial=KEEP_OLD_HOURS,
        label="Sign with the old secret as well for (hours)",
        help_text=f"0 to {LONGEST_KEEP_HOURS}. 0 ends it at once: for one that somebody else has seen.",
        widget=TypedInput("number", step="any", min="0", max=str(LONGEST_KEEP_HOURS)),
    )


class DisableForm(forms.Form):
    reason = forms.CharField(required=False, max_length=MAX_REASON, label="Why", widget=TypedInput("text"))


class StateFilter(SelectFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [("enabled", "Enabled"), ("disabled", "Disabled")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(disabled_at__isnull=self.value() == "enabled") if self.value() else queryset


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    list_display = ["endpoint", "state", "events_shown", "hears", "last_delivery", "created"]
    list_filter = [StateFilter]
    search_fields = ["url", "description"]
    search_help_text = "URL or description"
    change_form_template = "tasks/admin/webhook.html"
    fields: Any = []

    def get_urls(self) -> list[URLPattern]:
        views: dict[str, Callable[..., HttpResponse]] = {
            "edit": self.edit,
            "rotate": self.rotate,
            "test": self.test,
            "disable": self.disable,
            "enable": self.enable,
            "remove": self.remove,
        }
        return [
            *(
                path(f"<uuid:endpoint_id>/{name}/", self.admin_site.admin_view(view), name=f"tasks_webhook_{name}")
                for name, view in views.items()
            ),
            *super().get_urls(),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return not missing(request.user, "webhooks.add")

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """One's own; with the right to hear of everybody's jobs, everybody's."""
        sees_all = not missing(request.user, "webhooks.hear_all")
        latest = WebhookDelivery.objects.filter(endpoint=OuterRef("pk")).order_by("-id")
        return endpoints.visible(request.user.get_username(), sees_all=sees_all).annotate(
            last_state=Subquery(latest.values("job__state")[:1]),
            last_job=Subquery(latest.values("job")[:1]),
            last_at=Subquery(latest.values("created_at")[:1]),
        )

    @display(description="Endpoint")
    def endpoint(self, endpoint: WebhookEndpoint) -> SafeString:
        host = Truncator(urlsplit(endpoint.url).netloc).chars(40)
        if not endpoint.description:
            return format_html('<span title="{}">{}</span>', endpoint.url, host)
        return format_html('{}<div class="tp-quiet" title="{}">{}</div>', endpoint.description, endpoint.url, host)

    @display(description="State")
    def state(self, endpoint: WebhookEndpoint) -> SafeString:
        return _state(endpoint)

    @display(description="Told of")
    def events_shown(self, endpoint: WebhookEndpoint) -> SafeString:
        return _chips(endpoint.events)

    @display(description="Whose jobs")
    def hears(self, endpoint: WebhookEndpoint) -> str:
        return endpoint.owner or "everybody's"

    @display(description="Last delivery")
    def last_delivery(self, endpoint: Any) -> SafeString:
        if endpoint.last_state is None:
            return SafeString('<span class="tp-quiet">none yet</span>')
        shown = format_html("{} {}", markup.state_badge(endpoint.last_state), markup.moment(endpoint.last_at))
        return markup.job_link(UUID(str(endpoint.last_job)), shown)  # SQLite has no type of its own for them

    @display(description="Added")
    def created(self, endpoint: WebhookEndpoint) -> SafeString:
        return markup.moment(endpoint.created_at)

    # One

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        endpoint = self.get_object(request, object_id)
        context: dict[str, Any] = {}
        if endpoint is not None and self.has_view_permission(request):
            context = {
                "endpoint": endpoint,
                "state": _state(endpoint),
                "events": _chips(endpoint.events),
                "tasks": _chips(endpoint.tasks),
                "created": markup.moment(endpoint.created_at),
                "disabled": markup.moment(endpoint.disabled_at),
                "secrets": len(endpoint.secrets),
                "deliveries": [_row(each) for each in endpoints.deliveries(endpoint, most=MOST_DELIVERIES)],
                "buttons": _buttons(request, endpoint),
            }
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The form; once it is right, the secret, on this one answer and never again."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = AddForm(request.user, request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                added, secret = endpoints.add(**form.cleaned_data, requested_by=request.user.get_username())
            except InvalidJob as error:
                _show(form, error)
            else:
                return self._with_secret(request, added, secret)
        return self._ask(request, form, title="Add a webhook endpoint", submit="Add endpoint")

    def edit(self, request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
        endpoint = self._allowed(request, "webhooks.change", endpoint_id)
        now = {name: getattr(endpoint, name) for name in EndpointForm.base_fields}
        form = EndpointForm(request.POST if request.method == "POST" else None, initial=now)
        lead = "What is under way goes to the new URL with its next attempt."
        asked = {"title": "Edit the endpoint", "submit": "Save", "lead": lead}
        return self._ask_or_act(request, endpoint, form, endpoints.change, "It is changed.", **asked)

    def rotate(self, request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
        endpoint = self._allowed(request, "webhooks.rotate", endpoint_id)
        form = RotateForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            try:
                changed, secret = endpoints.rotate(
                    endpoint.pk, requested_by=request.user.get_username(), **form.cleaned_data
                )
            except InvalidJob as error:
                _show(form, error)
            else:
                return self._with_secret(request, changed, secret)
        lead = "It gets a new secret. For a while messages bear a signature of each, so that no message is refused."
        return self._ask(request, form, endpoint, title="Rotate its secret", submit="Rotate", lead=lead)

    def test(self, request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
        endpoint = self._allowed(request, "webhooks.test", endpoint_id)
        if request.method != "POST":
            return HttpResponseRedirect(_page(endpoint))
        try:
            job = endpoints.test(endpoint.pk, requested_by=request.user.get_username())
        except IllegalTransition as error:
            messages.error(request, f"Nothing was sent: {error}.")
            return HttpResponseRedirect(_page(endpoint))
        messages.success(request, "A test is under way: this is the job that delivers it.")
        if missing(request.user, "jobs.view"):
            return HttpResponseRedirect(_page(endpoint))
        return HttpResponseRedirect(reverse("admin:tasks_job_change", args=[job.pk]))

    def disable(self, request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
        endpoint = self._allowed(request, "webhooks.disable", endpoint_id)
        form = DisableForm(request.POST if request.method == "POST" else None)
        lead = (
            "It is told of nothing more. What is under way becomes a dead letter, and can be replayed once it is "
            "enabled again. It does not hear of what happens meanwhile."
        )
        asked = {"title": "Disable the endpoint", "submit": "Disable", "kind": "danger", "lead": lead}
        return self._ask_or_act(request, endpoint, form, endpoints.disable, "It is disabled.", **asked)

    def enable(self, request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
        endpoint = self._allowed(request, "webhooks.enable", endpoint_id)
        form = forms.Form(request.POST if request.method == "POST" else None)
        lead = "It is told of what happens from now on, and not of what happened meanwhile."
        asked = {"title": "Enable the endpoint", "submit": "Enable", "lead": lead}
        return self._ask_or_act(request, endpoint, form, endpoints.enable, "It is enabled.", **asked)

    def remove(self, request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
        endpoint = self._allowed(request, "webhooks.remove", endpoint_id)
        form = forms.Form(request.POST if request.method == "POST" else None)
        lead = "It is forgotten with its secret. What is under way is cancelled; the jobs that delivered stay."
        asked = {"title": "Remove the endpoint", "submit": "Remove", "kind": "danger", "lead": lead}
        return self._ask_or_act(request, endpoint, form, endpoints.remove, "It is removed.", **asked)

    def _allowed(self, request: HttpRequest, verb: str, endpoint_id: UUID) -> WebhookEndpoint:
        require(request, "webhooks.view", verb)
        endpoint = self.get_queryset(request).filter(pk=endpoint_id).first()
        if endpoint is None:
            raise Http404
        return endpoint

    def _ask_or_act(
        self,
        request: HttpRequest,
        endpoint: WebhookEndpoint,
        form: forms.Form,
        act: Callable[..., object],
        done: str,
        **asked: str,
    ) -> HttpResponse:
        if request.method == "POST" and form.is_valid():
            try:
                act(endpoint.pk, requested_by=request.user.get_username(), **form.cleaned_data)
            except InvalidJob as error:
                _show(form, error)
            except IllegalTransition as error:
                form.add_error(None, f"Nothing was changed: {error}.")
            else:
                messages.success(request, done)
                is_there = WebhookEndpoint.objects.filter(pk=endpoint.pk).exists()
                return HttpResponseRedirect(_page(endpoint) if is_there else _list())
        return self._ask(request, form, endpoint, **asked)

    def _ask(
        self, request: HttpRequest, form: forms.Form, endpoint: WebhookEndpoint | None = None, **asked: str
    ) -> HttpResponse:
        context = {
            **page_context(self, request),
            "kind": "primary",
            "endpoint": endpoint,
            "back": _page(endpoint) if endpoint else _list(),
            "form": form,
            **asked,
        }
        return TemplateResponse(request, "tasks/admin/webhook_act.html", context)

    def _with_secret(self, request: HttpRequest, endpoint: WebhookEndpoint, secret: str) -> HttpResponse:
        context = {
            **page_context(self, request),
            "title": "The secret of the endpoint",
            "endpoint": endpoint,
            "secret": secret,
            "back": _page(endpoint),
        }
        response = TemplateResponse(request, "tasks/admin/webhook_secret.html", context)
        response["Cache-Control"] = "no-store"
        return response


def _show(form: forms.Form, error: InvalidJob) -> None:
    for problem in error.problems:
        form.add_error(problem["field"] if problem["field"] in form.fields else None, problem["message"])


def _list() -> str:
    return reverse("admin:tasks_webhookendpoint_changelist")


def _page(endpoint: WebhookEndpoint) -> str:
    return reverse("admin:tasks_webhookendpoint_change", args=[endpoint.pk])


def _state(endpoint: WebhookEndpoint) -> SafeString:
    if endpoint.disabled_at is None:
        return markup.badge("Enabled", "ok", "check")
    return markup.badge("Disabled", "warn", "block")


def _chips(names: list[str]) -> SafeString:
    return format_html('<span class="tp-chips">{}</span>', format_html_join("", "<span>{}</span>", zip(names)))


def _row(delivery: WebhookDelivery) -> dict[str, Any]:
    job = delivery.job
    return {
        "type": delivery.type,
        "state": markup.state_badge(job.state),
        "job": job,
        "url": reverse("admin:tasks_job_change", args=[job.pk]),
        "attempts": f"{job.attempt} {'attempt' if job.attempt == 1 else 'attempts'}",
        "at": markup.moment(delivery.created_at),
        "due": markup.moment(job.due_at) if job.due_at and not job.is_final else "",
    }


def _buttons(request: HttpRequest, endpoint: WebhookEndpoint) -> list[Button]:
    def of(name: str, text: str, icon: str, **more: Any) -> Button:
        url = reverse(f"admin:tasks_webhook_{name}", args=[endpoint.pk])
        verb = {"edit": "change"}.get(name, name)
        return button(request.user, f"webhooks.{verb}", text=text, icon=icon, url=url, **more)

    off = "It is disabled: enable it first." if endpoint.disabled_at else ""
    switch = of("enable", "Enable", "play_arrow") if endpoint.disabled_at else of("disable", "Disable", "block")
    return [
        of("test", "Send a test", "send", posts=True, unless=off, kind="primary"),
        of("edit", "Edit", "edit"),
        of("rotate", "Rotate secret", "key"),
        switch,
        of("remove", "Remove", "delete", kind="danger"),
    ]
