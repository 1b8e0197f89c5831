"""What is done to one dead letter: replay, discard, restore and unmask. Each is asked for by GET and done by POST."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from tasks.admin import markup
from tasks.admin.dead_letters import letter as letters
from tasks.admin.dead_letters.links import page_context, require, url_of, uuid_or_404
from tasks.admin.forms import TypedInput
from tasks.audit import MAX_REASON
from tasks.dead_letters import discarding, inspection, redirects, replaying
from tasks.errors import BrokerUnavailable, IllegalTransition, InvalidJob, InvalidReason
from tasks.models import DeadLetter
from tasks.registry import registry
from tasks.topology import TOPOLOGY

View = Callable[[ModelAdmin, HttpRequest, DeadLetter], HttpResponse]


class ReplayForm(forms.Form):
    """Where it goes. What is left empty is for the standing redirects to say, or stays as it was."""

    task = forms.ChoiceField(
        required=False,
        label="Run it as",
        widget=UnfoldAdminSelectWidget,
        help_text="Another task gets the same payload, and has to take it.",
    )
    queue = forms.ChoiceField(required=False, label="On the queue", widget=UnfoldAdminSelectWidget)

    def __init__(self, letter: DeadLetter, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tasks = [
            (spec.name, f"{spec.title} ({spec.name})" if spec.title != spec.name else spec.name) for spec in registry
        ]
        self.fields["task"].choices = [("", "The same task"), *tasks]  # type: ignore[attr-defined]
        queues = [(name, name) for name in TOPOLOGY.queue_names]
        self.fields["queue"].choices = [("", "Where it goes by itself"), *queues]  # type: ignore[attr-defined]
        if letter.job_id is None:
            del self.fields["task"]  # its bytes say what it asks for


class DiscardForm(forms.Form):
    reason = forms.CharField(
        max_length=MAX_REASON,
        label="Why",
        help_text="It stands in the audit trail beside your name.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        error_messages={"required": "Say why: nobody may discard dead letters without a reason."},
    )


class UnmaskForm(forms.Form):
    reason = forms.CharField(
        required=False,
        max_length=MAX_REASON,
        label="Why",
        help_text="Not needed; it stands in the audit trail beside your name.",
        widget=TypedInput("text"),
    )


def urls(admin: ModelAdmin) -> list[URLPattern]:
    """Of the pages that ask, and do."""

    def view(of: View) -> Callable[..., HttpResponse]:
        def answer(request: HttpRequest, letter_id: str) -> HttpResponse:
            return of(admin, request, get_object_or_404(DeadLetter, pk=uuid_or_404(letter_id)))

        return admin.admin_site.admin_view(answer)

    views: dict[str, View] = {"replay": replay, "discard": discard, "restore": restore, "unmask": unmask}
    return [path(f"<str:letter_id>/{name}/", view(of), name=f"tasks_deadletter_{name}") for name, of in views.items()]


def replay(admin: ModelAdmin, request: HttpRequest, letter: DeadLetter) -> HttpResponse:
    require(request, "dead_letters.replay")
    form = ReplayForm(letter, request.POST if request.method == "POST" else None)

    def act(given: dict[str, Any]) -> str:
        replaying.replay(letter.pk, requested_by=request.user.get_username(), **given)
        return "Its job is queued again." if letter.job_id else "The message was sent again."

    if letter.job_id:
        lead = "Its job is queued again with its payload and a fresh count of attempts."
    else:
        lead = "The message goes back, byte for byte, to where it was sent."
    facts = [_where_it_goes(letter), _what_waits(letter)]
    asked = {"title": "Replay", "submit": "Replay", "kind": "primary", "lead": lead, "facts": list(filter(None, facts))}
    return _ask_or_act(admin, request, letter, form, act, unless=letters.not_open(letter), **asked)


def discard(admin: ModelAdmin, request: HttpRequest, letter: DeadLetter) -> HttpResponse:
    require(request, "dead_letters.discard")
    form = DiscardForm(request.POST if request.method == "POST" else None)

    def act(given: dict[str, Any]) -> str:
        parked = discarding.discard(letter.pk, requested_by=request.user.get_username(), **given)
        return f"It is discarded, and can be restored until {parked.delete_at:%Y-%m-%d %H:%M} UTC."

    until = timezone.now() + timedelta(days=keep_days())
    lead = (
        f"It is parked for {keep_days()} days and can be restored until {until:%Y-%m-%d %H:%M} UTC. "
        f"After that it is deleted{' together with its job' if letter.job_id else ''}."
    )
    asked = {"title": "Discard", "submit": "Discard", "kind": "danger", "lead": lead, "facts": []}
    return _ask_or_act(admin, request, letter, form, act, unless=letters.not_open(letter), **asked)


def restore(admin: ModelAdmin, request: HttpRequest, letter: DeadLetter) -> HttpResponse:
    require(request, "dead_letters.restore")
    form = forms.Form(request.POST if request.method == "POST" else None)

    def act(given: dict[str, Any]) -> str:
        discarding.restore(letter.pk, requested_by=request.user.get_username())
        return "It is open again, as it was."

    lead = "It is open again, in its place and with its headers."
    if letter.delete_at:
        lead += f" Without that it is deleted on {letter.delete_at:%Y-%m-%d at %H:%M} UTC."
    asked = {"title": "Restore", "submit": "Restore", "kind": "primary", "lead": lead, "facts": []}
    return _ask_or_act(admin, request, letter, form, act, unless=letters.not_restorable(letter), **asked)


def unmask(admin: ModelAdmin, request: HttpRequest, letter: DeadLetter) -> HttpResponse:
    """By POST the letter's page with nothing hidden, on this one answer."""
    require(request, "dead_letters.view", "dead_letters.unmask")
    form = UnmaskForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        who, why = request.user.get_username(), form.cleaned_data["reason"]
        try:
            seen = inspection.unmask(letter.pk, requested_by=who, reason=why)
        except InvalidReason as error:
            form.add_error("reason", error.problems[0]["message"])
        else:
            return letters.answer(admin, request, letter, seen, is_unmasked=True)
    lead = "The page is shown once with nothing hidden, and kept nowhere. That you looked is recorded."
    return _asked(admin, request, letter, form, title="Unmask", submit="Show everything", kind="primary", lead=lead)


def keep_days() -> int:
    return settings.TASKS_DEAD_LETTER_KEEP_DAYS


def _ask_or_act(
    admin: ModelAdmin,
    request: HttpRequest,
    letter: DeadLetter,
    form: forms.Form,
    act: Callable[[dict[str, Any]], str],
    *,
    unless: str,
    **asked: Any,
) -> HttpResponse:
    """The page that asks; after a POST the letter's page, or the form again with what was wrong and all that was typed.
    ``act`` answers what it did."""
    page = reverse("admin:tasks_deadletter_change", args=[letter.pk])
    if request.method != "POST" and unless:
        messages.warning(request, unless)
        return HttpResponseRedirect(page)
    if request.method == "POST" and form.is_valid():
        try:
            messages.success(request, act(form.cleaned_data))
            return HttpResponseRedirect(page)
        except InvalidJob as error:
            for problem in error.problems:
                _show(form, problem["field"], problem["message"])
        except (IllegalTransition, BrokerUnavailable) as error:
            form.add_error(None, f"Nothing was changed: {error}.")
    return _asked(admin, request, letter, form, **asked)


def _show(form: forms.Form, field: str, message: str) -> None:
    """Put a problem at the field that it is about: that of a payload at the task that does not take it."""
    if field in form.fields:
        form.add_error(field, message)
    else:
        form.add_error("task" if field.startswith("payload") and "task" in form.fields else None, f"{field}: {message}")


def _asked(
    admin: ModelAdmin, request: HttpRequest, letter: DeadLetter, form: forms.Form, *, title: str, **asked: Any
) -> HttpResponse:
    context = {
        **page_context(admin, request),
        "title": f"{title}: {letters.title_of(letter)}",
        "letter": letter,
        "error": inspection.error_line(letter),
        "reason": markup.reason_badge(letter),
        "state": markup.letter_state(letter),
        "died": markup.moment(letter.died_at),
        "form": form,
        **asked,
    }
    return TemplateResponse(request, "tasks/admin/letter_act.html", context)


def _where_it_goes(letter: DeadLetter) -> dict[str, Any] | None:
    """What the standing redirects make of it when nobody says anything else."""
    told = {"url": url_of("tasks_redirect_changelist"), "link": "Standing redirects", "is_warning": True}
    try:
        if letter.job is None:
            came = redirects.Destination(letter.task, letter.queue)
            goes = came._replace(queue=redirects.destination_of_message(*came))
        else:
            came, goes = redirects.Destination(letter.job.task, letter.job.queue), redirects.of_job(letter.job)
    except InvalidJob as error:
        return {**told, "text": f"The standing redirects lead nowhere: {error}."}
    if goes == came:
        return None
    here, there = (came.queue, goes.queue) if goes.task == came.task else (str(came), str(goes))
    return {**told, "text": f"A standing redirect applies: unless you choose otherwise it goes to {there}, not {here}."}


def _what_waits(letter: DeadLetter) -> dict[str, Any] | None:
    edit = letters.waiting_edit(letter)
    if edit is None:
        return None
    text = f"An edit by {edit.edited_by} waits for approval; a replay goes without it, and the edit can not be applied."
    return {
        "text": text, "url": url_of("tasks_letteredit_change", edit.pk), "link": "The edit", "is_warning": True,
    }  # fmt: skip
