"""Pause a queue, or resume it: the button in the dashboard's table, and the page that asks first."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.widgets import UnfoldAdminTextareaWidget

from tasks import queues
from tasks.admin.buttons import Button, button
from tasks.admin.forms import TypedInput
from tasks.admin.markup import moment
from tasks.audit import MAX_REASON
from tasks.errors import InvalidJob
from tasks.models import PausedQueue
from tasks.permissions import User, missing
from tasks.topology import TOPOLOGY


class PauseForm(forms.Form):
    reason = forms.CharField(
        required=False,
        max_length=MAX_REASON,
        help_text="For whoever wonders why nothing runs, and for the audit trail.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )
    until = forms.DateTimeField(
        required=False,
        help_text="It is resumed then by itself. Time in UTC; empty: when somebody resumes it.",
        widget=TypedInput("datetime-local", step="1"),
    )


def cell(user: User, name: str, pause: PausedQueue | None) -> dict[str, Any]:
    """What the dashboard's row of a queue tells of its pause, and the button that changes it."""
    url = reverse("admin:tasks_queue_pausing", args=[name])
    offer: Button
    if pause is None:
        offer = button(user, "queues.pause", text="Pause", icon="pause", url=url)
    else:
        offer = button(user, "queues.resume", text="Resume", icon="play_arrow", url=url)
    return {"pause": pause, "since": moment(pause.since) if pause else "", "button": offer}


def urls(admin: ModelAdmin) -> list[URLPattern]:
    def view(request: HttpRequest, name: str) -> HttpResponse:
        return page(admin, request, name)

    return [path("queues/<str:name>/pausing/", admin.admin_site.admin_view(view), name="tasks_queue_pausing")]


def page(admin: ModelAdmin, request: HttpRequest, name: str) -> HttpResponse:
    """Asks on GET. A POST names what it confirms, so that of two people who press the button one is told that it was
    done, and neither undoes what the other did."""
    if name not in TOPOLOGY.queue_names:
        raise Http404(f"there is no queue {name!r}")
    if missing(request.user, "queues.pause", "queues.resume"):
        raise PermissionDenied
    form = PauseForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and _act(request, name, form):
        return HttpResponseRedirect(reverse("admin:index"))
    pause = queues.paused().get(name)
    request.current_app = admin.admin_site.name
    context = {
        **admin.admin_site.each_context(request),
        "is_nav_sidebar_enabled": True,
        "title": f"{'Resume' if pause else 'Pause'} {name}",
        "name": name,
        "pause": pause,
        "since": moment(pause.since) if pause else "",
        "form": form,
        "waiting": queues.job_counts().get(("queued", name), 0),
    }
    return TemplateResponse(request, "tasks/admin/pausing.html", context)


def _act(request: HttpRequest, name: str, form: PauseForm) -> bool:
    """Whether it is done; what is wrong then stands in ``form``."""
    who = request.user.get_username()
    if request.POST.get("act") == "resume":
        if queues.resume(name, requested_by=who):
            messages.success(request, f"{name} is resumed; its jobs begin again within about two seconds.")
        else:
            messages.info(request, f"{name} was not paused any more.")
        return True
    if not form.is_valid():
        return False
    try:
        queues.pause(name, requested_by=who, reason=form.cleaned_data["reason"], until=form.cleaned_data["until"])
    except InvalidJob as error:
        for problem in error.problems:
            form.add_error(problem["field"] if problem["field"] in form.fields else None, problem["message"])
        return False
    messages.success(request, f"{name} is paused; no worker begins a job of it.")
    return True
