"""Edits of dead letters: those that wait for a second person, and what became of the others."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from tasks import audit, words
from tasks.admin import markup
from tasks.admin.base import ReadOnlyAdmin, SelectFilter
from tasks.admin.dead_letters import diffs
from tasks.admin.dead_letters.links import page_context, require, url_of, uuid_or_404
from tasks.admin.forms import TypedInput
from tasks.dead_letters import editing
from tasks.dead_letters.masking import Mask
from tasks.errors import IllegalTransition, InvalidJob
from tasks.models import DeadLetter, Job, LetterEdit
from tasks.permissions import missing

_STATES: dict[str, tuple[str, str]] = {
    LetterEdit.State.PROPOSED: ("warn", "hourglass_empty"),
    LetterEdit.State.APPLIED: ("ok", "check"),
    LetterEdit.State.REJECTED: ("bad", "close"),
}


class EditStateFilter(SelectFilter):
    """Those that wait, unless asked otherwise: they need somebody."""

    title = "state"
    parameter_name = "state"
    any_label = LetterEdit.State.PROPOSED.label

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        decided = (LetterEdit.State.APPLIED, LetterEdit.State.REJECTED)
        return [*((state.value, str(state.label)) for state in decided), ("all", "All")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() == "all":
            return queryset
        return queryset.filter(state=self.value() or LetterEdit.State.PROPOSED)


class RejectForm(forms.Form):
    reason = forms.CharField(
        max_length=audit.MAX_REASON,
        label="Why",
        help_text="To reject it. It stands in the audit trail beside your name.",
        widget=TypedInput("text"),
        error_messages={"required": "Say why, for whoever made the edit."},
    )


@admin.register(LetterEdit)
class LetterEditAdmin(ReadOnlyAdmin):
    list_display = ["of", "state_of", "why", "by", "edited", "decided"]
    list_display_links = ["of"]
    list_filter = [EditStateFilter]

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return not missing(request.user, "dead_letters.view")  # an edit shows what its letter shows

    def get_urls(self) -> list[URLPattern]:
        views = {"approve": self.approve, "reject": self.reject, "unmask": self.unmask}
        return [
            *(
                path(f"<uuid:edit_id>/{name}/", self.admin_site.admin_view(view), name=f"tasks_letteredit_{name}")
                for name, view in views.items()
            ),
            *super().get_urls(),
        ]

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer("payload")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Edits of dead letters", **(extra_context or {})})

    @display(description="Edit")
    def of(self, edit: LetterEdit) -> SafeString:
        title = words.task_title(edit.task)
        return format_html('<span class="tp-name">{}</span><span class="tp-id">{}</span>', title, edit.queue)

    @display(description="State")
    def state_of(self, edit: LetterEdit) -> SafeString:
        return state_badge(edit)

    @display(description="Why")
    def why(self, edit: LetterEdit) -> SafeString:
        return format_html('<span class="tp-line" title="{}">{}</span>', edit.reason, edit.reason)

    @display(description="By")
    def by(self, edit: LetterEdit) -> str:
        return edit.edited_by

    @display(description="Edited")
    def edited(self, edit: LetterEdit) -> SafeString:
        return markup.moment(edit.edited_at)

    @display(description="Decided")
    def decided(self, edit: LetterEdit) -> SafeString:
        if not edit.decided_by:
            return markup.NOTHING
        return format_html("{} by {}", markup.moment(edit.decided_at), edit.decided_by)

    # The page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        require(request, "dead_letters.view")
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied("An edit is never changed; it is approved or rejected.")
        return self._page(request, uuid_or_404(object_id), RejectForm())

    def unmask(self, request: HttpRequest, edit_id: UUID) -> HttpResponse:
        """By POST the page with nothing hidden, on this one answer."""
        require(request, "dead_letters.view", "dead_letters.unmask")
        if request.method != "POST":
            return self._back(edit_id)
        return self._page(request, edit_id, RejectForm(), is_unmasked=True)

    def approve(self, request: HttpRequest, edit_id: UUID) -> HttpResponse:
        require(request, "dead_letters.view", "dead_letters.approve")
        get_object_or_404(LetterEdit.objects.only("pk"), pk=edit_id)
        if request.method == "POST":
            try:
                editing.approve(edit_id, approved_by=request.user.get_username())
                messages.success(request, "The edit is applied, and the job is queued.")
            except (IllegalTransition, InvalidJob) as error:
                messages.error(request, f"Nothing was changed: {error}.")
        return self._back(edit_id)

    def reject(self, request: HttpRequest, edit_id: UUID) -> HttpResponse:
        edit = get_object_or_404(LetterEdit, pk=edit_id)
        if why_not := _may_not_reject(request, edit):
            raise PermissionDenied(why_not)
        if request.method != "POST":
            return self._back(edit_id)
        form = RejectForm(request.POST)
        if form.is_valid():
            try:
                editing.reject(edit_id, rejected_by=request.user.get_username(), **form.cleaned_data)
            except InvalidJob as error:
                for problem in error.problems:
                    form.add_error("reason", problem["message"])
            except IllegalTransition as error:
                messages.error(request, f"Nothing was changed: {error}.")
                return self._back(edit_id)
            else:
                messages.success(request, "The edit is rejected; the letter stays as it is.")
                return self._back(edit_id)
        return self._page(request, edit_id, form)

    def _back(self, edit_id: UUID) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:tasks_letteredit_change", args=[edit_id]))

    def _page(
        self, request: HttpRequest, edit_id: UUID, form: RejectForm, *, is_unmasked: bool = False
    ) -> HttpResponse:
        edit = get_object_or_404(LetterEdit.objects.select_related("letter__job", "job"), pk=edit_id)
        found = editing.diff(edit, mask=None if is_unmasked else Mask().payload)
        if is_unmasked:
            said = {"where": "edit", "edit": edit.pk}
            audit.record(request.user.get_username(), "dead_letters.unmask", edit.letter_id, detail=said)
        me = request.user.get_username()
        is_own = editing.is_same_person(edit.edited_by, me)
        own = "You made this edit; a second person approves it." if is_own else ""
        context = {
            **page_context(self, request),
            "title": f"Edit: {words.task_title(edit.task)}",
            "edit": edit,
            "letter": edit.letter,
            "letter_state": markup.letter_state(edit.letter),
            "state": state_badge(edit),
            "edited": markup.moment(edit.edited_at),
            "decided": markup.moment(edit.decided_at),
            "changes": diffs.rows(found),
            "is_masked": not is_unmasked and found != editing.diff(edit, mask=None),
            "is_unmasked": is_unmasked,
            "may_not_unmask": missing(request.user, "dead_letters.unmask"),
            "goes": diffs.where_it_goes(edit),
            "job": _job(edit),
            "waits": edit.state == LetterEdit.State.PROPOSED,
            "is_stale": edit.letter.state != DeadLetter.State.OPEN,
            "is_own": is_own,
            "why_not_approve": missing(request.user, "dead_letters.approve") or own,
            "why_not_reject": _may_not_reject(request, edit),
            "form": form,
            "rehearse_url": url_of("tasks_deadletter_rehearse", edit.letter_id, edit=str(edit.pk)),
            "may_not_rehearse": missing(request.user, "dead_letters.rehearse"),
        }
        return TemplateResponse(request, "tasks/admin/letter_edited.html", context)


def state_badge(edit: LetterEdit) -> SafeString:
    return markup.badge(edit.get_state_display(), *_STATES[edit.state])


def _may_not_reject(request: HttpRequest, edit: LetterEdit) -> str:
    """An editor takes the own edit back with the right to edit."""
    is_own = editing.is_same_person(edit.edited_by, request.user.get_username())
    return missing(request.user, "dead_letters.view") or (
        missing(request.user, "dead_letters.edit" if is_own else "dead_letters.reject")
    )


def _job(edit: LetterEdit) -> dict[str, Any] | None:
    job: Job | None = edit.job
    if job is None:
        return None
    text = str(job.pk)
    return {"link": markup.job_link(job.pk, f"{text[:8]}…{text[-4:]}"), "state": markup.state_badge(job.state)}
