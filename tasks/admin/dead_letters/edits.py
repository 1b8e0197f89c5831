"""Edit a dead letter: a form, then the difference, then the edit itself. What is wrong stands at its field."""

import json
from collections.abc import Callable
from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from tasks import audit, words
from tasks.admin import markup
from tasks.admin.dead_letters import diffs
from tasks.admin.dead_letters.bodies import Body, FieldsBody, JsonBody, TextBody
from tasks.admin.dead_letters.links import page_context, require, url_of, uuid_or_404
from tasks.dead_letters import editing, inspection, redirects
from tasks.dead_letters.filling import filled
from tasks.dead_letters.masking import Mask
from tasks.errors import IllegalTransition, InvalidJob
from tasks.models import DeadLetter, LetterEdit
from tasks.permissions import missing
from tasks.registry import registry
from tasks.states import JobState
from tasks.topology import TOPOLOGY

LOOK, APPLY, BACK, AS_JSON, AS_FIELDS, UNMASK = "look", "apply", "back", "json", "fields", "unmask"
"""What a POST asks for."""


def task_choices(empty: str) -> list[tuple[str, str]]:
    named = [(spec.name, f"{spec.title} ({spec.name})" if spec.title != spec.name else spec.name) for spec in registry]
    return [("", empty), *named]


def queue_choices(empty: str) -> list[tuple[str, str]]:
    return [("", empty), *((name, name) for name in TOPOLOGY.queue_names)]


class TargetForm(forms.Form):
    """Where it goes, and why it is changed. What is right is for the service to say."""

    task = forms.ChoiceField(required=False, label="Run it as", widget=UnfoldAdminSelectWidget)
    queue = forms.ChoiceField(required=False, label="On the queue", widget=UnfoldAdminSelectWidget)
    reason = forms.CharField(
        required=False,
        label="Why",
        help_text="It stands in the audit trail beside your name.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
    )

    def __init__(self, letter: DeadLetter, *args: Any, **options: Any):
        super().__init__(*args, **options)
        same = "The task that the message names" if letter.job_id is None else "The same task"
        self.fields["task"].choices = task_choices(same)  # type: ignore[attr-defined]
        self.fields["queue"].choices = queue_choices("Where it goes by itself")  # type: ignore[attr-defined]
        self.fields["reason"].is_needed = True  # type: ignore[attr-defined]

    def asked(self) -> dict[str, str]:
        """As the service takes it, once it was read; a choice that is none stays empty, and has its error."""
        return {name: self.cleaned_data.get(name, "") for name in ("task", "queue", "reason")}


def urls(admin: ModelAdmin) -> list[URLPattern]:
    def view(request: HttpRequest, letter_id: str) -> HttpResponse:
        return edit(admin, request, letter_id)

    return [path("<str:letter_id>/edit/", admin.admin_site.admin_view(view), name="tasks_deadletter_edit")]


def edit(admin: ModelAdmin, request: HttpRequest, letter_id: str) -> HttpResponse:
    require(request, "dead_letters.view", "dead_letters.edit")
    letter = get_object_or_404(DeadLetter.objects.select_related("job"), pk=uuid_or_404(letter_id))
    if (refusal := _refusal(letter)) is not None:
        why, url = refusal
        messages.warning(request, why)
        return HttpResponseRedirect(url)
    return _Edit(admin, request, letter).answer()


class _Edit:
    """One answer of the page."""

    def __init__(self, admin: ModelAdmin, request: HttpRequest, letter: DeadLetter):
        self.admin, self.request, self.letter = admin, request, letter
        self.sent = request.POST if request.method == "POST" else None
        self.step = self.sent.get("step", LOOK) if self.sent is not None else ""
        self.is_unmasked = self.step == UNMASK or bool(self.sent and self.sent.get("unmasked"))
        if self.is_unmasked:
            require(request, "dead_letters.unmask")
        self.mask = None if self.is_unmasked else Mask().payload
        self.seen = editing.shown(letter, mask=self.mask)
        self.target = TargetForm(letter, self.sent)
        self.notes: list[str] = []

    def answer(self) -> HttpResponse:
        if self.sent is None:
            begin = editing.shown_text(self.letter, mask=self.mask) if self.letter.job_id is None else self.seen
            return self._form(self._body_for(begin, as_json=self.request.GET.get("as") == AS_JSON))
        body = self._typed()
        read = [self.target.is_valid(), body.is_valid()]
        if self.step == UNMASK:
            return self._form(self._unmasked(body))
        if self.step in (BACK, AS_JSON, AS_FIELDS) and read[1]:
            return self._form(self._switched(body))
        if not read[1]:
            self._check_the_rest()
            return self._form(body)
        if body.kind == "fields" and self._task() != cast(FieldsBody, body).spec.name and self.step == LOOK:
            return self._form(self._of_another_task(body))
        return self._look_or_apply(body, is_whole=all(read))

    def _look_or_apply(self, body: Body, *, is_whole: bool) -> HttpResponse:
        is_message = self.letter.job_id is None
        looked = editing.draft_repair if is_message else editing.draft
        made = editing.repair if is_message else editing.propose
        act: Callable[..., LetterEdit] = made if self.step == APPLY and is_whole else looked
        try:
            done = act(self.letter.pk, body.value(), edited_by=self.request.user.get_username(), **self.target.asked())
        except InvalidJob as error:
            self._show(body, error)
            return self._form(body)
        except IllegalTransition as error:
            messages.error(self.request, f"Nothing was changed: {error}.")
            return HttpResponseRedirect(reverse("admin:tasks_deadletter_change", args=[self.letter.pk]))
        if not is_whole:
            return self._form(body)
        if act is looked:
            return self._difference(body, done)
        _tell(self.request, done)
        return HttpResponseRedirect(reverse("admin:tasks_letteredit_change", args=[done.pk]))

    # What was typed

    def _typed(self) -> Body:
        sent: Any = self.sent or {}
        if self.letter.job_id is None:
            return TextBody(sent)
        named = sent.get("form_task", "")
        if sent.get("kind") == "fields" and named in registry and self.step not in (APPLY, BACK):
            seen = self.seen if sent.get("unmasked") else editing.shown(self.letter, mask=Mask().payload)
            return FieldsBody(registry.get(named), value=None, seen=seen, data=sent)
        return JsonBody(sent)

    def _task(self) -> str:
        """The task that it would run as; "" where none is known."""
        chosen = self.target.data.get("task", "")
        chosen = chosen if chosen in registry else ""
        try:
            name = redirects.of_job(self.letter.job, to_task=chosen).task if self.letter.job else chosen
        except InvalidJob:  # redirects lead in a circle, as the draft is going to say
            name = chosen or self.letter.task
        return registry.get(name).name if name in registry else ""

    def _body_for(self, value: Any, *, as_json: bool) -> Body:
        """A form that begins with ``value``, and loses nothing of it."""
        if isinstance(value, str):
            return TextBody.of(value)
        task = self._task()
        if not task:
            self.notes.append(
                f"This build knows no task {self.letter.task!r}. Choose one that takes the payload, or deploy the task."
            )
        elif not as_json:
            body = FieldsBody(registry.get(task), value=value, seen=self.seen)
            if body.holds(value):
                return body
            self.notes.append("The payload does not fit the form of its task, so here it is as JSON.")
        return JsonBody.of(value)

    def _switched(self, body: Body) -> Body:
        kind = self.sent.get("kind") if self.sent and self.step == BACK else self.step
        return self._body_for(body.value(), as_json=kind == AS_JSON)

    def _of_another_task(self, body: Body) -> Body:
        self.notes.append(f"This is the form of {words.task_title(self._task())} now. Look through it, and go on.")
        return self._body_for(body.value(), as_json=False)

    def _unmasked(self, body: Body) -> Body:
        """What was typed, with its masks lifted."""
        masked = editing.shown(self.letter, mask=Mask().payload)
        original = editing.original_of(self.letter)
        if isinstance(body, TextBody):
            typed, hidden = body.data.get("text", ""), editing.shown_text(self.letter, mask=Mask().payload)
            return TextBody.of(editing.text_of(self.letter)) if typed.split() == hidden.split() else body
        if not body.is_valid():
            return body
        value = filled(body.value(), shown=masked, original=original).value
        return self._body_for(value, as_json=body.kind == AS_JSON)

    # What is wrong

    def _check_the_rest(self) -> None:
        """Tell all that is wrong at once, also where what was typed can not be read."""
        if not (self.target.data.get("reason") or "").strip():
            self.target.add_error("reason", "say why the letter is changed")

    def _show(self, body: Body, error: InvalidJob) -> None:
        for problem in error.problems:
            field, message = problem["field"], problem["message"]
            where, _, rest = field.partition(".")
            if field in ("queue", "reason") or (
                field == "task" and (body.kind != "text" or self.target.data.get("task"))
            ):
                self.target.add_error(field, message)
            elif body.kind == "text":
                body.show(field, message)
            elif where == "payload":
                body.show(rest, message)
            else:
                body.show("", f"{field}: {message}")

    # The pages

    def _form(self, body: Body) -> HttpResponse:
        is_masked = self.mask is not None and self.seen != editing.original_of(self.letter)
        task = self._task()
        context = {
            **self._context(body),
            "notes": self.notes,
            "is_masked": is_masked,
            "is_hidden": is_masked and isinstance(body, TextBody) and not isinstance(self.seen, dict),
            "may_not_unmask": missing(self.request.user, "dead_letters.unmask"),
            "task": registry.get(task) if task else None,
            "error": inspection.error_line(self.letter),
            "waits": settings.TASKS_EDIT_APPROVAL,
            "has_errors": bool(body.errors or self.target.errors),
        }
        return self._answer("tasks/admin/letter_edit.html", context)

    def _difference(self, body: Body, draft: LetterEdit) -> HttpResponse:
        typed = body.value() if body.kind == "text" else json.dumps(body.value(), indent=2, ensure_ascii=False)
        context = {
            **self._context(body),
            "draft": draft,
            "changes": diffs.rows(editing.diff(draft, mask=self.mask)),
            "goes": diffs.where_it_goes(draft),
            "typed": typed,
            "typed_name": "text" if body.kind == "text" else "json",
            "rehearsed": typed if body.kind != "text" else "",
            "may_not_rehearse": missing(self.request.user, "dead_letters.rehearse"),
            "waits": settings.TASKS_EDIT_APPROVAL,
        }
        return self._answer("tasks/admin/letter_difference.html", context)

    def _context(self, body: Body) -> dict[str, Any]:
        about = "Repair" if self.letter.job_id is None else "Edit"
        of = words.task_title(self.letter.task) if self.letter.task else "message without a task"
        return {
            **page_context(self.admin, self.request),
            "title": f"{about}: {of}",
            "letter": self.letter,
            "reason": markup.reason_badge(self.letter),
            "died": markup.moment(self.letter.died_at),
            "body": body,
            "kind": body.kind,
            "form_task": body.spec.name if isinstance(body, FieldsBody) else self._task(),
            "target": self.target,
            "is_unmasked": self.is_unmasked,
            "rehearse_url": url_of("tasks_deadletter_rehearse", self.letter.pk),
        }

    def _answer(self, template: str, context: dict[str, Any]) -> HttpResponse:
        if self.is_unmasked:
            audit.record(
                self.request.user.get_username(), "dead_letters.unmask", self.letter.pk, detail={"where": "edit"}
            )
        return TemplateResponse(self.request, template, context)


def _refusal(letter: DeadLetter) -> tuple[str, str] | None:
    """Why it can not be edited now, and the page that tells more."""
    page = reverse("admin:tasks_deadletter_change", args=[letter.pk])
    waiting = letter.edits.filter(state=LetterEdit.State.PROPOSED).first()
    if waiting is not None:
        return f"This edit by {waiting.edited_by} waits for approval; have it approved or rejected first.", reverse(
            "admin:tasks_letteredit_change", args=[waiting.pk]
        )
    if letter.state != DeadLetter.State.OPEN:
        return f"It is {letter.get_state_display().lower()}, not open: nothing is edited any more.", page
    if letter.job is not None and letter.job.state != JobState.DEAD:
        return f"Its job is {letter.job.get_state_display().lower()}; only a dead job can be edited.", page
    return None


def _tell(request: HttpRequest, done: LetterEdit) -> None:
    if done.state == LetterEdit.State.PROPOSED:
        messages.success(request, "The edit waits: a second person must approve it before anything is replayed.")
    else:
        messages.success(request, "The edit is applied, and the job is queued.")
