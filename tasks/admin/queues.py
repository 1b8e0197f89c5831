"""Purging a live queue: what waits in it, what a purge means, and why it is done."""

from typing import Any

from django import forms
from django.contrib.admin import ModelAdmin
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from tasks.admin.dead_letters.starting import ReasonForm, confirmed, gone_to, page, posted
from tasks.models import Job, Operation
from tasks.purging import WAITING
from tasks.states import JobState
from tasks.topology import TOPOLOGY

Verb = Operation.Verb


class PurgeForm(ReasonForm):
    """Which of the jobs, and why."""

    states = forms.MultipleChoiceField(
        required=False,
        label="Jobs to take",
        initial=[JobState.QUEUED],
        error_messages={"invalid_choice": "Choose among the states that are shown."},
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )

    field_order = ["states", "reason"]

    def __init__(self, waiting: dict[str, int], *args: Any):
        super().__init__(Verb.PURGE, *args)
        choices = [(state.value, f"{state.label}: {waiting.get(state, 0):,}") for state in WAITING]
        self.fields["states"].choices = choices  # type: ignore[attr-defined]

    def clean_states(self) -> list[str]:
        if not self.cleaned_data["states"]:
            raise forms.ValidationError("Choose at least one.")
        return self.cleaned_data["states"]

    def show(self, field: str, message: str) -> None:
        if field == "query":  # that it matches nothing
            self.add_error("states", "Nothing waits there in these states.")
        else:
            super().show(field, message)


def purge(admin: ModelAdmin, request: HttpRequest, queue: str) -> HttpResponse:
    """GET counts what waits in ``queue``. POST parks it, as it is then."""
    if queue not in TOPOLOGY.queue_names:
        raise Http404(f"no queue {queue!r}")
    waiting = waiting_in(queue)
    form = PurgeForm(waiting, *posted(request))
    if request.method == "POST":
        states = request.POST.getlist("states")
        if operation := confirmed(request, Verb.PURGE, {"queue": queue, "states": states}, form):
            return gone_to(request, operation)
    context = {"queue": queue, "waiting": [(state.label, waiting.get(state, 0)) for state in WAITING]}
    return page(admin, request, Verb.PURGE, form, context)


def waiting_in(queue: str) -> dict[str, int]:
    """How many jobs wait in it, by state: as many index entries are read as there are such jobs."""
    # Apart, as the indexes have them.
    waits = Q(state=JobState.QUEUED) | Q(state__in=[JobState.SCHEDULED, JobState.RETRYING])
    rows = Job.objects.filter(waits, queue=queue).order_by()
    return dict(rows.values_list("state").annotate(found=Count("pk")))
