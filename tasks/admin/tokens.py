"""API tokens: issue one, see it once, revoke it. Its text is kept nowhere."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from tasks.admin import markup
from tasks.admin.forms import TypedInput
from tasks.models import ApiToken
from tasks.permissions import SCOPES, words_of
from tasks.tokens import revoke

_CHOICES = [(scope, f"{scope}: {words_of(scope)}") for scope in SCOPES]


class IssueForm(forms.Form):
    name = forms.CharField(
        max_length=100, help_text="Who or what will use it, like ci or mobile-app.", widget=TypedInput("text")
    )
    scopes = forms.MultipleChoiceField(choices=_CHOICES, widget=UnfoldAdminCheckboxSelectMultipleWidget)
    expires_at = forms.DateTimeField(
        required=False,
        label="Expires at",
        help_text="Time in UTC. Empty: it works until revoked.",
        widget=TypedInput("datetime-local", step="1"),
    )

    rate_per_minute = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        label="Requests a minute",
        help_text="Empty: as many as API_RATE_PER_MINUTE says. 0: any number.",
        widget=TypedInput("number", min="0"),
    )

    def __init__(self, user: Any, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # Nobody hands out a right that they do not have.
        mine = [(scope, label) for scope, label in _CHOICES if user.has_perms(SCOPES[scope])]
        self.fields["scopes"].choices = mine  # type: ignore[attr-defined]

    def clean_name(self) -> str:
        name = self.cleaned_data["name"]
        if ApiToken.objects.filter(name=name).exists():
            raise forms.ValidationError(
                "A token has, or had, this name; names tell tokens apart in every job's history."
            )
        return name

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise forms.ValidationError("This moment has passed.")
        return expires_at


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):
    list_display = ["name", "hint_shown", "scopes_shown", "condition", "used", "created"]
    list_per_page = 50
    search_fields = ["name"]
    ordering = ["name"]
    fields = ["name", "hint_shown", "scopes_shown", "condition", "rate", "created_at", "expires_at", "last_used_at"]
    readonly_fields = ["hint_shown", "scopes_shown", "condition", "rate"]
    actions = ["revoke"]

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False  # a token's rights do not change behind the back of who holds it: revoke it and issue another

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False  # its jobs would belong to whoever is given its name next: it is revoked, and stays

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("tasks.delete_apitoken"))

    @admin.action(description="Revoke for good", permissions=["revoke"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> None:
        revoked = [revoke(token.name) for token in tokens.filter(revoked_at=None)]
        for token in revoked:
            self.log_change(request, token, "revoked")
        names = ", ".join(token.name for token in revoked)
        if revoked:
            messages.success(request, f"Revoked: {names}. Their webhook endpoints are disabled.")
        else:
            messages.warning(request, "Nothing was done: these were revoked before.")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The form; once it is right, the token's text, on this one answer and never again."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = IssueForm(request.user, request.POST or None)
        text = token = None
        if request.method == "POST" and form.is_valid():
            given = form.cleaned_data
            token, text = ApiToken.issue(
                given["name"],
                given["scopes"],
                expires_at=given["expires_at"],
                rate_per_minute=given["rate_per_minute"],
            )
            self.log_addition(request, token, "issued")
        context = {
            **self.admin_site.each_context(request),
            **(extra_context or {}),
            "title": "Issue an API token",
            "opts": self.opts,
            "form": form,
            "token": token,
            "text": text,
        }
        response = TemplateResponse(request, "tasks/admin/issue_token.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @display(description="Begins with")
    def hint_shown(self, token: ApiToken) -> SafeString:
        return format_html("<code>{}…</code>", token.hint)

    @display(description="Scopes")
    def scopes_shown(self, token: ApiToken) -> SafeString:
        chips = format_html_join("", "<span>{}</span>", ((scope,) for scope in token.scopes))
        return format_html('<span class="tp-chips">{}</span>', chips)

    @display(description="Condition")
    def condition(self, token: ApiToken) -> SafeString:
        if token.revoked_at is not None:
            return format_html("{} {}", markup.badge("Revoked", "quiet", "block"), markup.moment(token.revoked_at))
        if token.expires_at is None:
            return markup.badge("Works", "ok", "check")
        if token.expires_at <= timezone.now():
            return markup.badge("Expired", "quiet", "block")
        return format_html("{} until {}", markup.badge("Works", "ok", "check"), markup.moment(token.expires_at))

    @display(description="Requests a minute")
    def rate(self, token: ApiToken) -> str:
        limit = settings.TASKS_API_RATE_PER_MINUTE if token.rate_per_minute is None else token.rate_per_minute
        return f"{limit:,}" if limit else "any number"

    @display(description="Last used")
    def used(self, token: ApiToken) -> SafeString:
        return markup.moment(token.last_used_at) if token.last_used_at else SafeString("never")

    @display(description="Issued")
    def created(self, token: ApiToken) -> SafeString:
        return markup.moment(token.created_at)
