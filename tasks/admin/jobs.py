"""Jobs: the list, the page, cancel and replay, and the poller that keeps both live."""

import re
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from tasks import jobs, words
from tasks.admin import attempts, dashboard, markup, pausing, run
from tasks.admin.base import CreatedFilter, ReadOnlyAdmin, SelectFilter, go_to
from tasks.attempts import attempts_of
from tasks.dead_letters import inspection
from tasks.dead_letters.masking import Mask, mask_of
from tasks.errors import IllegalTransition, InvalidJob
from tasks.models import UNFINISHED, Job
from tasks.registry import registry
from tasks.states import JobState, Priority
from tasks.topology import TOPOLOGY

MAX_LIVE_ROWS = 100
MAX_ATTEMPTS_SHOWN = 50
MAX_EVENTS_SHOWN = 200
STOP_POLLING = 286  # htmx: swap what came, and ask no more

_ID_PREFIX = re.compile(r"[0-9a-f]{6,32}")


class StateFilter(SelectFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("live", "Not ended"), *JobState.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() == "live":
            return queryset.filter(UNFINISHED)
        return super().queryset(request, queryset)


class TaskFilter(SelectFilter):
    """By kind of work: jobs that were enqueued under an earlier name of it are among them."""

    title = "task"
    parameter_name = "task"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            (spec.name, spec.title if spec.title == spec.name else f"{spec.title} ({spec.name})") for spec in registry
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(task__in=registry.names_of(name)) if (name := self.value()) else queryset


class QueueFilter(SelectFilter):
    title = "queue"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in TOPOLOGY.queue_names]


class PriorityFilter(SelectFilter):
    title = "priority"
    parameter_name = "priority"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return Priority.choices


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ["job", "state_now", "attempt_of", "queue_of", "timing", "created"]
    list_display_links = ["job"]
    list_filter = [StateFilter, TaskFilter, QueueFilter, PriorityFilter, CreatedFilter]
    list_after_template = "tasks/admin/list_poller.html"
    search_fields = ["id"]  # shows the box; get_search_results decides
    search_help_text = "Job id, correlation id or idempotency key"
    change_form_template = "tasks/admin/job.html"
    fields: Any = []
    actions_detail = ["cancel", "replay"]

    # Pages

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("run/", view(self.run_index), name="tasks_job_run_index"),
            path("run/<str:task>/", view(self.run), name="tasks_job_run"),
            path("live/", view(self.live), name="tasks_job_live"),
            path("dashboard/", view(self.dashboard_panel), name="tasks_dashboard"),
            *pausing.urls(self),
            path("<uuid:job_id>/live/", view(self.live_page), name="tasks_job_live_page"),
            *super().get_urls(),
        ]

    def run_index(self, request: HttpRequest) -> HttpResponse:
        return run.index(self, request)

    def run(self, request: HttpRequest, task: str) -> HttpResponse:
        return run.form(self, request, task)

    def dashboard_panel(self, request: HttpRequest) -> HttpResponse:
        self._require_view(request)
        return _not_stored(render(request, "tasks/admin/parts/dashboard_live.html", dashboard.live(request)))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        job = self.get_object(request, object_id)
        context = page_context(job) if job is not None and self.has_view_permission(request) else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def _require_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    # The live poller: one for each page, however many rows it shows

    def live(self, request: HttpRequest) -> HttpResponse:
        """The moving cells of the jobs asked for, as out-of-band swaps. Ends the poller once none of them moves."""
        self._require_view(request)
        ids = [found for text in request.GET.get("ids", "").split(",")[:MAX_LIVE_ROWS] if (found := _uuid(text))]
        rows = list(Job.objects.filter(pk__in=ids))
        cells = "".join(
            cell(job, swap=True) for job in rows for cell in (markup.state_and_progress, markup.attempts, markup.timing)
        )
        moving = any(not job.is_final for job in rows)
        return _not_stored(HttpResponse(cells, status=200 if moving else STOP_POLLING))

    def live_page(self, request: HttpRequest, job_id: UUID) -> HttpResponse:
        """Head and history of a job's page; its attempts once the history has grown; a fresh page once it has ended."""
        self._require_view(request)
        job = get_object_or_404(Job.objects.select_related("worker"), pk=job_id)
        if job.is_final:
            return _not_stored(HttpResponse(status=STOP_POLLING, headers={"HX-Refresh": "true"}))
        context = page_context(job)
        # The attempts are left alone until there is a new event: a swap would fold an open traceback.
        grown = str(context["newest_event"]) != request.GET.get("event")
        return _not_stored(render(request, "tasks/admin/job_live.html", {**context, "grown": grown, "swap": True}))

    # The list

    @display(description="Job")
    def job(self, job: Job) -> SafeString:
        return format_html(
            '{}<span class="tp-id" title="{}">{}</span>',
            words.task_title(job.task),
            job.pk,
            job.short_id,
        )

    @display(description="State")
    def state_now(self, job: Job) -> SafeString:
        return markup.state_and_progress(job)

    @display(description="Attempt")
    def attempt_of(self, job: Job) -> SafeString:
        return markup.attempts(job)

    @display(description="Queue")
    def queue_of(self, job: Job) -> SafeString | str:
        if job.priority == Priority.HIGH:
            return format_html('<span class="tp-nowrap">{} {}</span>', job.queue, markup.badge("High", "warn"))
        return format_html('<span class="tp-nowrap">{}</span>', job.queue)

    @display(description="Time")
    def timing(self, job: Job) -> SafeString:
        return markup.timing(job)

    @display(description="Created")
    def created(self, job: Job) -> SafeString:
        return markup.moment(job.created_at)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """By id, whole, its beginning, or as shortened here; else by idempotency key or correlation id, exactly."""
        term = search_term.strip()
        if not term:
            return queryset, False
        head, _, tail = term.lower().replace("-", "").partition("…")
        if _ID_PREFIX.fullmatch(head):
            by_id = queryset.filter(pk__gte=UUID(head.ljust(32, "0")), pk__lte=UUID(head.ljust(32, "f")))
            if tail:
                ids = [pk for pk in by_id.values_list("pk", flat=True)[:1000] if pk.hex.endswith(tail)]
                by_id = queryset.filter(pk__in=ids)
            if by_id.exists():
                return by_id, False
        # The index of the tasks' keys begins with the task, so naming every task lets the database use it.
        of_task = Q(task__in=[name for spec in registry for name in spec.names], idempotency_owner="")
        of_owner = ~Q(idempotency_owner="")
        by_key = Q(idempotency_key=term) & of_task | Q(idempotency_key=term) & of_owner
        return queryset.filter(by_key | Q(correlation_id=term)), False

    # Actions

    def has_cancel_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return request.user.has_perm("tasks.cancel_job")

    def has_replay_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return request.user.has_perm("tasks.replay_deadletter")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list:
        job = self.get_object(request, object_id)
        fits = {
            "cancel": job is not None and not job.is_final,
            "replay": job is not None and job.state == JobState.DEAD,
        }
        return [
            found
            for found in super().get_actions_detail(request, object_id)
            if fits[found.action_name.removeprefix("tasks_job_")]
        ]

    @action(
        description="Cancel job",
        icon="block",
        variant=ActionVariant.DANGER,
        permissions=["cancel"],
        dialog={
            "title": "Cancel this job?",
            "description": "A waiting job is cancelled at once. A running one stops at its next checkpoint; "
            "what it did until then stays done.",
            "form_class": BaseDialogForm,
            "form_submit_text": "Yes, cancel the job",  # beside unfold's own "Cancel", which closes the dialog
        },
    )
    def cancel(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        try:
            job = jobs.cancel(_uuid_or_404(object_id), requested_by=request.user.get_username())
        except Job.DoesNotExist:
            raise Http404 from None
        except IllegalTransition as error:
            messages.warning(request, f"Nothing was changed: {error}.")
        else:
            messages.success(
                request, "The job is cancelled." if job.is_final else "The job will stop at its next checkpoint."
            )
        return go_to(request, reverse("admin:tasks_job_change", args=[object_id]))

    @action(
        description="Replay job",
        icon="replay",
        variant=ActionVariant.PRIMARY,
        permissions=["replay"],
        dialog={
            "title": "Replay this job?",
            "description": "It is queued again with the same payload and a fresh count of attempts. "
            "Its dead letter is marked as replayed.",
            "form_class": BaseDialogForm,
            "form_submit_text": "Yes, replay the job",
        },
    )
    def replay(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        try:
            jobs.replay(_uuid_or_404(object_id), requested_by=request.user.get_username())
        except Job.DoesNotExist:
            raise Http404 from None
        except (IllegalTransition, InvalidJob) as error:  # a standing redirect may lead to where it can not go
            messages.warning(request, f"Nothing was changed: {error}.")
        else:
            messages.success(request, "The job is queued again.")
        return go_to(request, reverse("admin:tasks_job_change", args=[object_id]))


def head_context(job: Job, mask: Mask) -> dict[str, Any]:
    """What moves while the job runs."""
    waited = _between(job.queued_at or job.created_at, job.started_at)
    return {
        "job": job,
        "title_of_task": words.task_title(job.task),
        "state": markup.state_and_progress(job),
        "attempt": markup.attempts(job),
        "timing": markup.timing(job),
        "times": [
            ("Created", markup.moment(job.created_at)),
            ("Queued", markup.moment(job.queued_at)),
            ("Due", markup.moment(job.due_at)),
            ("Started", markup.moment(job.started_at)),
            ("Finished", markup.moment(job.finished_at)),
            ("Waited", words.duration(waited) if waited is not None else markup.NOTHING),
        ],
        "worker": job.worker,
        "error": mask.text(job.error) if job.state != JobState.SUCCEEDED else "",
    }


def page_context(job: Job) -> dict[str, Any]:
    """Everything on a job's page; the queries are as many for a long history as for a short one."""
    events = list(job.events.order_by("-id")[:MAX_EVENTS_SHOWN])
    mask = mask_of(job)
    return {
        **head_context(job, mask),
        "payload": words.pretty(mask.payload(job.task, job.payload)),
        "result": words.pretty(mask.anywhere(job.result)) if job.result is not None else "",
        "links": list(words.links_in(mask.anywhere(job.result))),
        "metadata": words.pretty(mask.anywhere(job.metadata)) if job.metadata else "",
        "attempts": _attempts(job, mask),
        "newest_event": events[0].pk if events else 0,
        "events": [
            {
                "kind": event.get_kind_display(),
                "code": event.kind,
                "attempt": event.attempt,
                "text": mask.text(words.event(event)),
                "at": markup.moment(event.at),
            }
            for event in events
        ],
        "letters": [
            {"letter": letter, "reason": markup.reason_badge(letter), "state": markup.letter_state(letter),
             "at": markup.moment(letter.died_at), "error": inspection.error_line(letter, mask)}
            for letter in job.dead_letters.defer("body", "properties", "traceback")[:20]
        ],
    }  # fmt: skip


def _attempts(job: Job, mask: Mask) -> list[dict[str, Any]]:
    """The latest attempts, newest first."""
    numbers = range(job.attempt, max(0, job.attempt - MAX_ATTEMPTS_SHOWN), -1)
    return [
        {
            "number": attempt.number,
            "badge": attempts.status_badge(attempt.status),
            "worker": attempt.worker,
            "took": words.duration(attempt.seconds) if attempt.seconds is not None else "",
            "at": markup.moment(attempt.finished_at) if attempt.finished_at else "",
            "error": mask.text(attempt.error),
            "traceback": mask.text(attempt.traceback),
            "log": mask.text(attempt.log),
            "flower": f"{settings.TASKS_FLOWER_URL.rstrip('/')}/task/{job.pk}.{attempt.number}"
            if settings.TASKS_FLOWER_URL
            else "",
        }
        for attempt in attempts_of(job, numbers)
    ]


def _between(begin: datetime | None, end: datetime | None) -> float | None:
    return (end - begin).total_seconds() if begin and end and end >= begin else None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _uuid_or_404(text: str) -> UUID:
    found = _uuid(text)
    if found is None:
        raise Http404
    return found


def _not_stored(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response
