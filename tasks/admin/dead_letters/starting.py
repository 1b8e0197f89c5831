"""What many are in for, before anybody says yes: the preflight, the pace and the reason; and then the yes."""

import math
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from unfold.widgets import UnfoldAdminTextareaWidget

from tasks import audit, words
from tasks.admin.forms import TypedInput
from tasks.admin.markup import short
from tasks.dead_letters import operations, preflight
from tasks.dead_letters.pacing import FASTEST, RATE_PER_SECOND, STEPS, STOP_RATIO
from tasks.dead_letters.preflight import Blocker, Preflight
from tasks.dead_letters.query import up_to
from tasks.errors import InvalidJob, InvalidQuery
from tasks.models import DeadLetter, Operation
from tasks.permissions import missing, of_operation

Verb = Operation.Verb
Query = str | dict[str, Any]

VERBS = (Verb.REPLAY, Verb.DISCARD, Verb.RESTORE)
"""Those of letters that a query chooses. A queue is purged on a page of its own, and restored by undoing that."""

UNDONE_BY: dict[str, Verb] = {Verb.DISCARD: Verb.RESTORE, Verb.PURGE: Verb.UNPURGE}

DONE_TO: dict[str, str] = {
    Verb.REPLAY: "replayed",
    Verb.DISCARD: "discarded",
    Verb.RESTORE: "restored",
    Verb.PURGE: "purged",
    Verb.UNPURGE: "put back",
}

_MEANS: dict[str, str] = {
    Verb.REPLAY: "The job of each letter is queued again with a fresh count of attempts; a message without a job goes "
    "back to where it was sent. A few go first, and more only once those went well.",
    Verb.DISCARD: "The letters leave the list, and their jobs stay dead. Until {until} they can be restored as they "
    "were; then they are deleted, together with their jobs.",
    Verb.RESTORE: "The letters are open again, as they were: in the same place, with the same headers. Their jobs stay "
    "dead until somebody replays them.",
    Verb.PURGE: "The jobs are cancelled and parked. Until {until} they can be put back, in the same order; then they "
    "are cancelled jobs like any other. Messages that others have sent to the queue are not touched.",
    Verb.UNPURGE: "The jobs are put back into their queue in the order they had, and scheduled ones for their time.",
}


def means(verb: str) -> str:
    """What ``verb`` does to those it acts on, in a sentence or two."""
    until = timezone.now() + timedelta(days=settings.TASKS_DEAD_LETTER_KEEP_DAYS)
    return _MEANS[verb].format(until=f"{until:%Y-%m-%d}")


class ReasonForm(forms.Form):
    """Why. What the services find wrong is shown where it belongs; nothing typed is lost."""

    reason = forms.CharField(
        required=False,
        max_length=audit.MAX_REASON,
        help_text="It is kept in the audit trail.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
    )

    def __init__(self, verb: str, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # A mark at the label alone: the words come from the service.
        self.fields["reason"].is_needed = of_operation(verb) in audit.NEEDS_REASON  # type: ignore[attr-defined]

    def arguments(self) -> dict[str, Any]:
        """Of operations.start; call after ``is_valid()``."""
        return {"reason": self.cleaned_data["reason"]}

    def show(self, field: str, message: str) -> None:
        if field in self.fields:
            self.add_error(field, message)
        elif field == "query":
            self.add_error(None, f"Nothing was started, for the query {message}.")
        else:
            self.add_error(None, f"{field}: {message}")


class PacingForm(ReasonForm):
    """How carefully a replay goes."""

    steps = forms.CharField(
        required=False,
        label="First steps",
        initial=", ".join(map(str, STEPS)),
        help_text="So many letters go first; each step waits for all outcomes of the one before. Empty: no canary, "
        "all go at the rate below.",
        widget=TypedInput("text", inputmode="numeric"),
    )
    rate_per_second = forms.FloatField(
        required=False,
        label="Then, letters per second",
        initial=f"{RATE_PER_SECOND:g}",
        help_text="Empty: as fast as it can.",
        widget=TypedInput("number", step="any", min="0", max=f"{FASTEST:g}"),
    )
    stop_percent = forms.FloatField(
        required=False,
        min_value=0,
        max_value=100,
        label="Stop by itself when more than this part fails (%)",
        initial=f"{STOP_RATIO * 100:g}",
        help_text="Looked at after each outcome, from the first on. Empty: it never stops by itself.",
        widget=TypedInput("number", step="any", min="0", max="100"),
    )

    field_order = ["steps", "rate_per_second", "stop_percent", "reason"]

    def clean_steps(self) -> list[int]:
        try:
            return [int(size) for size in self.cleaned_data["steps"].replace(",", " ").split()]
        except ValueError:
            raise forms.ValidationError("Write whole numbers with commas between them, like 1, 5, 25.") from None

    def arguments(self) -> dict[str, Any]:
        rate, percent = self.cleaned_data["rate_per_second"], self.cleaned_data["stop_percent"]
        return {
            **super().arguments(),
            "steps": self.cleaned_data["steps"],
            "rate_per_second": math.inf if rate is None else rate,
            "stop_ratio": 1.0 if percent is None else percent / 100,  # more than all never fail
        }


def form_of(verb: str, *posted: Any) -> ReasonForm:
    return (PacingForm if verb == Verb.REPLAY else ReasonForm)(verb, *posted)


def start(admin: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """GET looks at what ``?verb=`` on all that match ``?q=`` would do. POST does it, to those that were looked at: what
    dies after the look is not among them, so what was confirmed is what happens."""
    verb, typed = request.GET.get("verb", ""), request.GET.get("q", "").strip()
    if verb not in VERBS:
        raise Http404(f"no verb {verb!r}")
    now = timezone.now()
    form = form_of(verb, *posted(request))
    if request.method == "POST":
        query = up_to(typed, request.POST.get("as_of") or now.isoformat())
        if operation := confirmed(request, verb, query, form):
            return gone_to(request, operation)
    context: dict[str, Any] = {"typed": typed, "as_of": now.isoformat(), "back_query": urlencode({"q": typed})}
    try:
        pace = operations.pacing_for(verb).rate_per_second
        found = preflight.look(verb, up_to(typed, now.isoformat()), rate_per_second=pace)
    except InvalidQuery as error:
        context["query_problems"] = [f"{each['field']}: {each['message']}" for each in error.problems]
    else:
        context |= looked(verb, found)
    return page(admin, request, verb, form, context)


def undo(admin: ModelAdmin, request: HttpRequest, operation: Operation) -> HttpResponse:
    """The same for what ``operation`` discarded or purged. Raises Http404 for one that can not be undone."""
    if operation.verb not in UNDONE_BY:
        raise Http404(f"a {operation.verb} can not be undone")
    verb, query = UNDONE_BY[operation.verb], {"operation": str(operation.pk)}
    form = form_of(verb, *posted(request))
    if request.method == "POST" and (undoing := confirmed(request, verb, query, form)):
        return gone_to(request, undoing)
    context: dict[str, Any] = {"undoes": operation}
    try:
        context |= looked(verb, preflight.look(verb, query))
    except InvalidJob as error:  # it still goes on
        context["query_problems"] = [each["message"] for each in error.problems]
    return page(admin, request, verb, form, context)


def posted(request: HttpRequest) -> tuple[Any, ...]:
    return (request.POST,) if request.method == "POST" else ()


def confirmed(request: HttpRequest, verb: str, query: Query, form: ReasonForm) -> Operation | None:
    """The operation, started; None when something is wrong, which then stands in the form. Raises PermissionDenied."""
    if why_not := missing(request.user, "operations.start", of_operation(verb)):
        raise PermissionDenied(why_not)
    if not form.is_valid():
        return None
    try:
        return operations.start(verb, query, requested_by=request.user.get_username(), **form.arguments())
    except InvalidJob as error:
        for problem in error.problems:
            form.show(problem["field"], problem["message"])
        return None


def gone_to(request: HttpRequest, operation: Operation) -> HttpResponse:
    """To the operation's page; to the first page for somebody who may start operations and not look at them."""
    if missing(request.user, "operations.view"):
        messages.success(request, f"It is started: {operation}.")
        return HttpResponseRedirect(reverse("admin:index"))
    return HttpResponseRedirect(reverse("admin:tasks_operation_change", args=[operation.pk]))


def page(admin: ModelAdmin, request: HttpRequest, verb: str, form: ReasonForm, context: dict[str, Any]) -> HttpResponse:
    """Raises PermissionDenied for whoever may not even see what it is about."""
    if why_not := missing(request.user, "jobs.view" if verb in (Verb.PURGE, Verb.UNPURGE) else "dead_letters.view"):
        raise PermissionDenied(why_not)
    request.current_app = admin.admin_site.name
    return TemplateResponse(
        request,
        "tasks/admin/operation_start.html",
        {
            **admin.admin_site.each_context(request),
            "is_nav_sidebar_enabled": True,
            "title": f"{Verb(verb).label}: look before it goes" if verb in VERBS else Verb(verb).label,
            "verb": verb,
            "verb_label": Verb(verb).label,
            "done_to": DONE_TO[verb],
            "means": means(verb),
            "form": form,
            "why_not": missing(request.user, "operations.start", of_operation(verb)),
            **context,
        },
    )


def looked(verb: str, found: Preflight) -> dict[str, Any]:
    """What the page shows of a preflight."""
    of_letter = DeadLetter.objects.only("task").in_bulk(
        [each.letter_id for samples in found.samples.values() for each in samples]
    )
    return {
        "found": found,
        "unit": "job" if verb in (Verb.PURGE, Verb.UNPURGE) else "letter",
        "skipped": [
            {
                "label": Blocker(reason).label,
                "number": number,
                "samples": [
                    {
                        "url": reverse("admin:tasks_deadletter_change", args=[each.letter_id]),
                        "text": _name(of_letter.get(each.letter_id)),
                        "id": each.letter_id,
                        "short_id": short(each.letter_id),
                        "why": each.why,
                    }
                    for each in found.samples.get(reason, [])
                ],
                "more": number - len(found.samples.get(reason, [])),
            }
            for reason, number in sorted(found.skipped.items(), key=lambda pair: -pair[1])
        ],
        "left_out": sum(found.skipped.values()),
        "drain": _drain(verb, found),
    }


def _drain(verb: str, found: Preflight) -> dict[str, str]:
    if verb != Verb.REPLAY or not found.will:
        return {}
    sending = found.will / RATE_PER_SECOND
    at_rate = f"sending at {RATE_PER_SECOND:g} a second takes {words.duration(sending)}"
    if found.drain_seconds is None:
        return {
            "time": "Nobody can say",
            "why": f"One of the tasks has never run here, or no living worker takes its queue; {at_rate}.",
        }
    return {
        "time": f"About {words.duration(max(found.drain_seconds, sending))}",
        "why": f"The workers of now need {words.duration(found.drain_seconds)} for it, with nothing else to do; "
        f"{at_rate}.",
    }


def _name(letter: DeadLetter | None) -> str:
    return words.task_title(letter.task) if letter and letter.task else "Message"
