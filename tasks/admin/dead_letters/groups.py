"""Failure groups: the list with its trends, and a page on which people note what they know and decide."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from tasks import words
from tasks.admin import markup
from tasks.admin.base import ReadOnlyAdmin
from tasks.admin.buttons import Button, button
from tasks.admin.dead_letters.links import letters_url, page_context, require, url_of, uuid_or_404
from tasks.admin.dead_letters.sparkline import in_words, sparkline
from tasks.admin.forms import TypedInput
from tasks.dead_letters import groups, inspection
from tasks.dead_letters.groups import Status, Summary
from tasks.errors import InvalidChange
from tasks.models import DeadLetter, FailureGroup, Operation, Release
from tasks.permissions import missing, of_operation
from tasks.registry import registry

PER_PAGE = 20
MAX_PAGE = 1000
MAX_RELEASES = 50

WANTED = ""
TABS = [(WANTED, "Want somebody"), *((status.value, status.label) for status in Status)]


class NoteForm(forms.Form):
    owner = forms.CharField(required=False, help_text="Who looks after it.", widget=TypedInput("text"))
    runbook_url = forms.CharField(
        required=False, label="Runbook", help_text="Where it says what to do.", widget=TypedInput("url")
    )
    note = forms.CharField(required=False, strip=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}))


class SnoozeForm(forms.Form):
    SPANS = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "1w": timedelta(weeks=1)}

    for_how_long = forms.ChoiceField(
        label="For",
        choices=[("1h", "1 hour"), ("1d", "1 day"), ("1w", "1 week"), ("until", "Until the moment below")],
        initial="1d",
        widget=UnfoldAdminSelectWidget,
    )
    until = forms.DateTimeField(
        required=False, help_text="Time in UTC.", widget=TypedInput("datetime-local", step="60")
    )

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if span := self.SPANS.get(given.get("for_how_long", "")):
            given["until"] = timezone.now() + span
        elif not given.get("until") and "until" not in self.errors:
            self.add_error("until", "Say until when, or choose for how long.")
        return given


class FixForm(forms.Form):
    release = forms.CharField(
        label="Fixed in release",
        help_text="As the workers' RELEASE names it; it may still be to come. A failure in it, or in a later one, "
        "opens the group again and alerts.",
        widget=TypedInput("text", list="known-releases", autocomplete="off"),
    )


@admin.register(FailureGroup)
class FailureGroupAdmin(ReadOnlyAdmin):
    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return not missing(request.user, "dead_letters.view")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        require(request, "dead_letters.view")
        asked, task = request.GET.get("status", WANTED), request.GET.get("task", "")
        status = Status(asked) if asked in Status.values else None
        page = _page(request)
        start = (page - 1) * PER_PAGE
        found = groups.summaries(status=status, task=task, limit=PER_PAGE + 1, offset=start)

        def address(**changed: str | int) -> str:
            parts: dict[str, str | int] = {
                "status": status.value if status else "",
                "task": task,
                "page": "",
                **changed,
            }
            return "?" + urlencode({name: value for name, value in parts.items() if value})

        known = [(spec.name, spec.title) for spec in registry]
        if task and task not in dict(known):
            known.append((task, task))  # of a build that knew it
        context = {
            **page_context(self, request),
            "title": "Failure groups",
            "tabs": [(label, address(status=value), value == (status or WANTED)) for value, label in TABS],
            "status": status,
            "task": task,
            "tasks": known,
            "rows": [_row(summary) for summary in found[:PER_PAGE]],
            "first": start + 1,
            "previous": address(page=page - 1) if page > 1 else "",
            "next": address(page=page + 1) if len(found) > PER_PAGE and page < MAX_PAGE else "",
        }
        return TemplateResponse(request, "tasks/admin/groups.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        require(request, "dead_letters.view")
        id = uuid_or_404(object_id)
        try:
            group = groups.summary(id).group
        except FailureGroup.DoesNotExist:
            raise Http404 from None
        acts = {"note": _note, "snooze": _snooze, "wake": _wake, "fix": _fix, "unfix": _unfix}
        given = {"note": _noted(group), "snooze": SnoozeForm(), "fix": _fixed(group)}
        if request.method == "POST":
            act = acts.get(request.POST.get("act", ""))
            if act is None:
                raise PermissionDenied("A failure group is changed by the forms of its page alone.")
            name, form, said = act(request, group)
            if said:
                messages.success(request, said)
                return HttpResponseRedirect(reverse("admin:tasks_failuregroup_change", args=[id]))
            given[name] = form
        context = {**page_context(self, request), **_facts(request, groups.summary(id)), "forms": given}
        return TemplateResponse(request, "tasks/admin/group.html", context)


def _page(request: HttpRequest) -> int:
    text = request.GET.get("page", "1")
    return min(max(int(text), 1), MAX_PAGE) if text.isdecimal() and len(text) < 6 else 1


# What people write. Each answers (which form, the form, what was done or "" where something is wrong).

Done = tuple[str, forms.Form, str]


def _noted(group: FailureGroup) -> NoteForm:
    return NoteForm(initial={"owner": group.owner, "runbook_url": group.runbook_url, "note": group.note})


def _fixed(group: FailureGroup) -> FixForm:
    return FixForm(initial={"release": group.fixed_in_release})


def _note(request: HttpRequest, group: FailureGroup) -> Done:
    require(request, "groups.note")
    form = NoteForm(request.POST)
    return _done(
        "note", form, lambda who: groups.note(group.pk, requested_by=who, **form.cleaned_data), request, "Noted."
    )


def _snooze(request: HttpRequest, group: FailureGroup) -> Done:
    require(request, "groups.snooze")
    form = SnoozeForm(request.POST)

    def act(who: str) -> None:
        groups.snooze(group.pk, until=form.cleaned_data["until"], requested_by=who)

    return _done("snooze", form, act, request, "It is snoozed: the list of those that want somebody leaves it out.")


def _wake(request: HttpRequest, group: FailureGroup) -> Done:
    require(request, "groups.snooze")
    groups.snooze(group.pk, until=None, requested_by=request.user.get_username())
    return "snooze", SnoozeForm(), "The snooze has ended."


def _fix(request: HttpRequest, group: FailureGroup) -> Done:
    require(request, "groups.fix")
    form = FixForm(request.POST)

    def act(who: str) -> None:
        groups.fix(group.pk, release=form.cleaned_data["release"], requested_by=who)

    said = (
        "It is marked as fixed. Failures of older releases stay quiet; one of this release or a later one reopens it."
    )
    return _done("fix", form, act, request, said)


def _unfix(request: HttpRequest, group: FailureGroup) -> Done:
    require(request, "groups.fix")
    groups.fix(group.pk, release="", requested_by=request.user.get_username())
    return "fix", FixForm(), "The mark is taken back: the group is open."


def _done(name: str, form: forms.Form, act: Callable[[str], object], request: HttpRequest, said: str) -> Done:
    if form.is_valid():
        try:
            act(request.user.get_username())
            return name, form, said
        except InvalidChange as error:
            for problem in error.problems:
                form.add_error(problem["field"], problem["message"])
    return name, form, ""


# What people read


def title_of(group: FailureGroup) -> str:
    return words.task_title(group.task) if group.task else "Message without a task"


def kind_of(group: FailureGroup) -> str:
    """The exception, or the reason where nothing was raised."""
    return group.error_type or dict(DeadLetter.Reason.choices).get(group.reason, group.reason)


def _row(summary: Summary) -> dict[str, Any]:
    group = summary.group
    return {
        "group": group,
        "summary": summary,
        "url": reverse("admin:tasks_failuregroup_change", args=[group.pk]),
        "title": title_of(group),
        "kind": kind_of(group),
        "status": markup.group_status(summary.status),
        "is_back": summary.status == Status.REOPENED,
        "first_seen": markup.moment(group.first_seen_at),
        "last_seen": markup.moment(summary.last_seen_at),
        "reopened": markup.moment(group.reopened_at),
        "snoozed": markup.moment(group.snoozed_until),
        "spark": sparkline(summary.trend),
    }


def _facts(request: HttpRequest, summary: Summary) -> dict[str, Any]:
    group, user = summary.group, request.user
    return {
        **_row(summary),
        "title": f"Failure group: {title_of(group)}",
        "task_title": title_of(group),
        "large_spark": sparkline(summary.trend, is_large=True),
        "in_words": in_words(summary.trend),
        "hours": [
            (f"{ago - 1} to {ago} h ago" if ago > 1 else "last hour", count)
            for ago, count in zip(range(len(summary.trend), 0, -1), summary.trend, strict=True)
        ],
        "is_snoozed": bool(group.snoozed_until and group.snoozed_until > timezone.now()),
        "fixed": markup.moment(group.fixed_at),
        "releases": list(Release.objects.values_list("name", flat=True)[:MAX_RELEASES]),
        "buttons": _buttons(request, summary),
        "sample": _sample(summary.sample),
        "why_not": {verb: missing(user, f"groups.{verb}") for verb in ("note", "snooze", "fix")},
    }


def _sample(id: UUID | None) -> dict[str, Any] | None:
    if id is None:
        return None
    letter = DeadLetter.objects.defer("body").get(pk=id)
    seen = inspection.inspect(id)
    return {
        "letter": letter,
        "url": url_of("tasks_deadletter_change", id),
        "reason": markup.reason_badge(letter),
        "state": markup.letter_state(letter),
        "at": markup.moment(letter.died_at),
        "cause": seen.cause,
        "error": words.error_line(seen.error_type, seen.error),
        "traceback": words.shortened(seen.traceback),
    }


def _buttons(request: HttpRequest, summary: Summary) -> list[Button]:
    query = f"group:{summary.group.pk}"
    nothing = "" if summary.open.number else "None of its letters is open."
    buttons = [
        button(
            request.user, "dead_letters.view", text="Its letters", icon="search",
            url=letters_url(f"{query} state:all" if nothing else query),
        )
    ]  # fmt: skip
    for verb, icon, kind in (
        (Operation.Verb.REPLAY, "replay", "primary"),
        (Operation.Verb.DISCARD, "delete", "danger"),
    ):
        buttons.append(
            button(
                request.user,
                "operations.start",
                of_operation(verb),
                text=f"{verb.label} all of it",
                icon=icon,
                kind=kind,  # type: ignore[arg-type]
                url=url_of("tasks_operation_start", verb=verb.value, q=query),
                unless=nothing,
            )
        )
    return [each for each in buttons if each.url]
