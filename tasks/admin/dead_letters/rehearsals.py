"""Rehearse a dead letter: run it in the sandbox, and see what it would do beside how it failed."""

import json
from dataclasses import asdict
from typing import Any

from django import forms
from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldBooleanWidget

from tasks import audit, words
from tasks.admin import markup
from tasks.admin.dead_letters.bodies import JsonBody
from tasks.admin.dead_letters.edits import task_choices
from tasks.admin.dead_letters.links import page_context, require, uuid_or_404
from tasks.dead_letters import editing, inspection, rehearsal
from tasks.dead_letters.masking import Mask
from tasks.dead_letters.rehearsal import Rehearsal
from tasks.errors import IllegalTransition, InvalidJob, RehearsalUnavailable
from tasks.models import DeadLetter, LetterEdit
from tasks.permissions import missing

_VERDICTS = {
    "passed": ("check_circle", "Passed", "A replay would succeed, as far as the sandbox can tell."),
    "failed": ("cancel", "Failed", "A replay would fail like this. Nothing was changed by trying."),
    "unclear": ("help", "Unclear", "The sandbox had to hold it back, so how it would end is not known."),
}


class RehearsalForm(forms.Form):
    """As what it runs, and with which payload: both may differ from what died."""

    task = forms.ChoiceField(required=False, label="Run it as", widget=UnfoldAdminSelectWidget)
    payload = forms.CharField(
        required=False,
        strip=False,
        help_text="JSON. Empty: as it died. What is masked, and left so, keeps its value.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 10, "spellcheck": "false"}),
    )
    unmask = forms.BooleanField(
        required=False, label="Show what is masked in the report; that is recorded", widget=UnfoldBooleanWidget
    )

    def __init__(self, request: HttpRequest, letter: DeadLetter, *args: Any, **options: Any):
        super().__init__(*args, **options)
        same = "Choose…" if letter.job_id is None else "The task that a replay would run"
        self.fields["task"].choices = task_choices(same)  # type: ignore[attr-defined]
        self.fields["payload"].widget.attrs["class"] += " tp-mono"
        if missing(request.user, "dead_letters.unmask"):
            del self.fields["unmask"]

    def clean_payload(self) -> dict[str, Any] | None:
        text: str = self.cleaned_data["payload"]
        if not text.strip():
            return None
        body = JsonBody({"json": text})
        if not body.is_valid():
            raise forms.ValidationError(list(body.errors["json"]))
        payload: dict[str, Any] = body.value()
        return payload

    @property
    def is_opened(self) -> bool:
        return bool(self.errors or self.data.get("payload") or self.data.get("task"))


def urls(admin: ModelAdmin) -> list[URLPattern]:
    def view(request: HttpRequest, letter_id: str) -> HttpResponse:
        return rehearse(admin, request, letter_id)

    return [path("<str:letter_id>/rehearse/", admin.admin_site.admin_view(view), name="tasks_deadletter_rehearse")]


def rehearse(admin: ModelAdmin, request: HttpRequest, letter_id: str) -> HttpResponse:
    """The form on GET; on POST it runs, up to a minute, and the answer is the report. Nothing is kept."""
    require(request, "dead_letters.view", "dead_letters.rehearse")
    letter = get_object_or_404(DeadLetter.objects.select_related("job"), pk=uuid_or_404(letter_id))
    edit = _edit(request, letter)
    posted = request.method == "POST"
    begin = {} if edit is not None else {"payload": _begin(letter)}
    form = RehearsalForm(request, letter, request.POST if posted else None, initial=begin)
    if edit is not None:  # just what was edited is rehearsed, not what somebody makes of it
        del form.fields["payload"], form.fields["task"]
    report, unavailable = (None, "")
    if posted and form.is_valid():
        report, unavailable = _held(request, letter, form, edit)
    context = {
        **page_context(admin, request),
        "title": f"Rehearse: {words.task_title(letter.task) if letter.task else 'message without a task'}",
        "letter": letter,
        "edit": edit,
        "reason": markup.reason_badge(letter),
        "died": markup.moment(letter.died_at),
        "error": inspection.error_line(letter),
        "form": form,
        "limits": rehearsal.LIMITS,
        "most_seconds": rehearsal.MOST_SECONDS,
        "unavailable": unavailable,
        "report": report,
    }
    return TemplateResponse(request, "tasks/admin/rehearsal.html", context)


def _held(
    request: HttpRequest, letter: DeadLetter, form: RehearsalForm, edit: LetterEdit | None
) -> tuple[dict[str, Any] | None, str]:
    """The report as its page shows it; or why there is none, which may stand at a field instead."""
    given, who = form.cleaned_data, request.user.get_username()
    payload = editing.payload_of(edit) if edit is not None else given["payload"]
    task = edit.task if edit is not None else given["task"]
    try:
        report = rehearsal.rehearse(letter.pk, requested_by=who, payload=payload, task=task)
    except InvalidJob as error:
        for problem in error.problems:
            name, _, rest = problem["field"].partition(".")
            field = name if name in form.fields else None
            about = rest if field else problem["field"]
            form.add_error(field, f"{about}: {problem['message']}" if about else problem["message"])
        return None, ""
    except (IllegalTransition, RehearsalUnavailable) as error:
        return None, f"It was not rehearsed: {error}."
    if given.get("unmask"):
        audit.record(who, "dead_letters.unmask", letter.pk, detail={"where": "rehearsal"})
        return _shown(report, is_masked=False), ""
    return _shown(rehearsal.masked(report, payload=payload), is_masked=True), ""


def _shown(report: Rehearsal, *, is_masked: bool) -> dict[str, Any]:
    icon, verdict, means = _VERDICTS[report.verdict]
    outcome, original = report.outcome, report.original
    return {
        **asdict(report),
        "is_masked": is_masked,
        "icon": icon,
        "verdict_words": verdict,
        "means": means,
        "took": words.duration(report.seconds),
        "task_title": words.task_title(report.task),
        "result": words.pretty(outcome["result"]) if outcome["result"] is not None else "",
        "error": words.error_line(outcome["error_type"], outcome["error"]),
        "traceback": words.shortened(outcome["traceback"]),
        "outcome_reason": _reason(outcome["reason"]),
        "retry_in": words.duration(outcome["retry_in_seconds"]) if outcome["retry_in_seconds"] is not None else "",
        "was": {
            "reason": _reason(original["reason"]),
            "error": words.error_line(original["error_type"], original["error"]),
            "traceback": words.shortened(original["traceback"]),
            "attempt": original["attempt"],
        },
        "log_text": "\n".join(f"{line['level']} {line['logger']}: {line['message']}" for line in report.log),
        "jobs": [{**job, "due_at": job["due_at"] or ""} for job in report.jobs],
        "is_contained": bool(report.refused or report.programs),
    }


def _reason(code: str | None) -> str:
    return str(DeadLetter.Reason(code).label) if code in DeadLetter.Reason.values else ""


def _edit(request: HttpRequest, letter: DeadLetter) -> LetterEdit | None:
    """The edit that is to be rehearsed before somebody decides on it."""
    named = request.GET.get("edit")
    if not named:
        return None
    return get_object_or_404(LetterEdit, pk=uuid_or_404(named), letter=letter)


def _begin(letter: DeadLetter) -> str:
    """The payload to begin with, masked; nothing for a message, of which only a part would be one."""
    if letter.job_id is None:
        return ""
    return json.dumps(editing.shown(letter, mask=Mask().payload), indent=2, ensure_ascii=False)
