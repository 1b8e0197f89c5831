"""Dead letters: the list, found by a query, and what can be done to those chosen on a page or to all that match."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.views import ChangeList

from tasks import words
from tasks.admin import markup
from tasks.admin.base import BoundedChangeList, BoundedPaginator, ReadOnlyAdmin
from tasks.admin.buttons import Button, button
from tasks.admin.dead_letters import acts, edits, filters, rehearsals
from tasks.admin.dead_letters import letter as page
from tasks.admin.dead_letters.links import page_context, require, url_of
from tasks.dead_letters import discarding, inspection, replaying, search
from tasks.dead_letters.query import values_of
from tasks.errors import BrokerUnavailable, IllegalTransition, InvalidJob, InvalidQuery
from tasks.models import DeadLetter, Operation
from tasks.permissions import missing, of_operation

MAX_REFUSALS_TOLD = 5
MAX_SELECTED = 200
SHOWN_IN_NO_LIST = [column for column in search.HEAVY_COLUMNS if column not in ("payload", "headers")]
"""Those two say what an error has to be masked of."""

Verb = Operation.Verb


class LetterPaginator(BoundedPaginator):
    """Counts as far as the search does: the words of a query cost more than its columns."""

    def __init__(self, letters: QuerySet[DeadLetter], per_page: int, query: str | None, **options: Any) -> None:
        super().__init__(letters, per_page, **options)
        self._query = query

    @cached_property
    def found(self) -> search.Count:
        return search.Count(0) if self._query is None else search.how_many(self._query)

    @cached_property
    def count(self) -> int:
        return self.found.number

    @property
    def is_cut(self) -> bool:
        return self.found.is_capped


class LetterList(BoundedChangeList):
    """What matches the query; nothing, and the problems, where it can not be understood."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[DeadLetter]:
        nothing = super().get_queryset(request, exclude_parameters).none()
        self.text = request.GET.get("q", "")
        self.problems: list[dict[str, str]] = []
        try:
            return search.letters(self.text).defer(*SHOWN_IN_NO_LIST)
        except InvalidQuery as error:
            self.problems = error.problems
            return nothing

    @property
    def filters(self) -> Any:
        return filters.shown(self.text)

    @property
    def found(self) -> search.Count:
        return self.paginator.found


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = ["letter", "reason_of", "error_of", "job_of", "died", "state_of"]
    list_display_links = ["letter"]
    change_list_template = "tasks/admin/letter_list.html"
    list_before_template = "tasks/admin/parts/letter_search.html"
    actions = ["replay_selected", "discard_selected"]

    def get_urls(self) -> list[URLPattern]:
        return [
            *page.urls(self), *acts.urls(self), *edits.urls(self), *rehearsals.urls(self), *super().get_urls(),
        ]  # fmt: skip

    # The list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LetterList

    def get_paginator(self, request: HttpRequest, queryset: QuerySet, per_page: int, **options: Any) -> Paginator:
        is_understood = not queryset.query.is_empty()
        return LetterPaginator(queryset, per_page, request.GET.get("q", "") if is_understood else None, **options)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if (query := filters.asked(request.GET.dict())) is not None and request.method == "GET":
            return HttpResponseRedirect(f"?{urlencode({'q': query})}")
        response = super().changelist_view(request, {"title": "Dead letters", **(extra_context or {})})
        found = getattr(response, "context_data", None) or {}
        if isinstance(listed := found.get("cl"), LetterList):
            found["buttons"] = _on_all(request, listed)
        return response

    @display(description="Dead letter")
    def letter(self, letter: DeadLetter) -> SafeString:
        title = words.task_title(letter.task) if letter.task else "Message"
        return format_html('<span class="tp-name">{}</span><span class="tp-id">{}</span>', title, letter.queue)

    @display(description="Reason")
    def reason_of(self, letter: DeadLetter) -> SafeString:
        return markup.reason_badge(letter)

    @display(description="Error")
    def error_of(self, letter: DeadLetter) -> SafeString:
        line = inspection.error_line(letter)[:500]
        return format_html('<span class="tp-line" title="{}">{}</span>', line, line) if line else markup.NOTHING

    @display(description="Job")
    def job_of(self, letter: DeadLetter) -> SafeString:
        if letter.job_id is None:
            return markup.NOTHING
        text = str(letter.job_id)
        return markup.job_link(letter.job_id, f"{text[:8]}…{text[-4:]}")

    @display(description="Died")
    def died(self, letter: DeadLetter) -> SafeString:
        return markup.moment(letter.died_at)

    @display(description="State")
    def state_of(self, letter: DeadLetter) -> SafeString:
        return markup.letter_state(letter)

    # The page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return page.page(self, request, object_id)

    # Those chosen on a page of the list

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return not missing(request.user, "dead_letters.replay")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return not missing(request.user, "dead_letters.discard")

    @action(description="Replay selected", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """Ask first, like Django's own "delete selected": this action comes by POST already, the answer by a second."""
        require(request, "dead_letters.replay")
        letters = list(queryset.order_by("id")[:MAX_SELECTED])
        if request.POST.get("confirmed") != "yes":
            return self._asked(request, letters, action="replay_selected", verb="Replay")
        _replay_all(request, letters)
        return None

    @action(description="Discard selected", permissions=["discard"])
    def discard_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        require(request, "dead_letters.discard")
        letters = list(queryset.order_by("id")[:MAX_SELECTED])
        form = acts.DiscardForm(request.POST if request.POST.get("confirmed") == "yes" else None)
        if not form.is_valid():
            return self._asked(request, letters, action="discard_selected", verb="Discard", form=form)
        _discard_all(request, letters, form.cleaned_data["reason"])
        return None

    def _asked(
        self,
        request: HttpRequest,
        letters: list[DeadLetter],
        *,
        action: str,
        verb: str,
        form: forms.Form | None = None,
    ) -> HttpResponse:
        context = {
            **page_context(self, request),
            "title": f"{verb} dead letters",
            "verb": verb,
            "action": action,
            "form": form,
            "keep_days": acts.keep_days(),
            "rows": [
                {"letter": letter, "error": inspection.error_line(letter), "reason": markup.reason_badge(letter),
                 "state": markup.letter_state(letter)}
                for letter in letters
            ],
            "back": request.get_full_path(),
        }  # fmt: skip
        return TemplateResponse(request, "tasks/admin/letters_selected.html", context)


def _on_all(request: HttpRequest, listed: LetterList) -> list[Button]:
    """Buttons for an operation on all that match, however many pages they fill."""
    state = (values_of(listed.text, "state") or [DeadLetter.State.OPEN.value])[0]
    verbs = [Verb.RESTORE] if state == DeadLetter.State.DISCARDED else [Verb.REPLAY, Verb.DISCARD]
    unless = ""
    if listed.problems:
        unless = "Mend the search first."
    elif not listed.found.number:
        unless = "Nothing matches."
    elif state == DeadLetter.State.REPLAYED:
        unless = "They are replayed already."
    looks = {Verb.REPLAY: ("replay", "primary"), Verb.DISCARD: ("delete", "danger"), Verb.RESTORE: ("undo", "primary")}
    buttons = [
        button(
            request.user,
            "operations.start",
            of_operation(verb),
            text=f"{verb.label} all that match",
            icon=looks[verb][0],
            kind=looks[verb][1],  # type: ignore[arg-type]
            url=url_of("tasks_operation_start", verb=verb.value, q=listed.text),
            unless=unless,
        )
        for verb in verbs
    ]
    return [each for each in buttons if each.url]


def _replay_all(request: HttpRequest, letters: list[DeadLetter]) -> None:
    refusals: dict[UUID, str] = {}
    broker_error = ""
    for letter in letters:
        try:
            if broker_error and letter.job_id is None:  # do not wait for a dead broker once a letter
                raise BrokerUnavailable(broker_error)
            replaying.replay(letter.pk, requested_by=request.user.get_username())
        except BrokerUnavailable as error:
            broker_error = str(error)
            refusals[letter.pk] = f"{letter}: {error}"
        except (IllegalTransition, InvalidJob, DeadLetter.DoesNotExist) as error:
            refusals[letter.pk] = f"{letter}: {error}"
    _tell(request, len(letters), list(refusals.values()), "replayed")


def _discard_all(request: HttpRequest, letters: list[DeadLetter], reason: str) -> None:
    refusals: list[str] = []
    for letter in letters:
        try:
            discarding.discard(letter.pk, requested_by=request.user.get_username(), reason=reason)
        except (IllegalTransition, DeadLetter.DoesNotExist) as error:
            refusals.append(f"{letter}: {error}")
    _tell(request, len(letters), refusals, "discarded")


def _tell(request: HttpRequest, asked: int, refusals: list[str], done: str) -> None:
    if number := asked - len(refusals):
        messages.success(request, f"{number} dead letter{'s' if number != 1 else ''} {done}.")
    if refusals:
        told = "; ".join(refusals[:MAX_REFUSALS_TOLD])
        more = f"; and {len(refusals) - MAX_REFUSALS_TOLD} more" if len(refusals) > MAX_REFUSALS_TOLD else ""
        messages.warning(request, f"{len(refusals)} not {done}. {told}{more}.")
