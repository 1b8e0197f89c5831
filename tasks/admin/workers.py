"""Workers: who is alive, and what each life of a process listened to."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from tasks.admin import markup
from tasks.admin.base import ReadOnlyAdmin, SelectFilter
from tasks.models import Job, WorkerProcess
from tasks.states import JobState


def alive() -> QuerySet[WorkerProcess]:
    """Workers with a recent sign of life."""
    silence = timedelta(seconds=settings.TASKS_WORKER_STALE_SECONDS)
    return WorkerProcess.objects.filter(stopped_at=None, seen_at__gte=Now() - silence).order_by("name")


def condition(worker: WorkerProcess) -> tuple[str, str, str]:
    """Text, colour and icon of its badge."""
    if worker.stopped_at is not None:
        return "Stopped", "quiet", "stop"
    if worker.seen_at < timezone.now() - timedelta(seconds=settings.TASKS_WORKER_STALE_SECONDS):
        return "Lost", "bad", "heart_broken"
    return "Alive", "ok", "favorite"


class ConditionFilter(SelectFilter):
    title = "condition"
    parameter_name = "condition"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("alive", "Alive"), ("lost", "Lost"), ("stopped", "Stopped")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() == "alive":
            return queryset.filter(pk__in=alive().values("pk"))
        if self.value() == "lost":
            return queryset.filter(stopped_at=None).exclude(pk__in=alive().values("pk"))
        return queryset.filter(stopped_at__isnull=False) if self.value() == "stopped" else queryset


@admin.register(WorkerProcess)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ["name", "condition", "running", "queues_shown", "host", "pid", "seen", "started"]
    list_filter = [ConditionFilter]
    search_fields = ["name", "host"]
    ordering = ["-started_at"]
    fields = [
        "name", "condition", "host", "pid", "pool", "concurrency", "queues_shown", "started_at", "seen_at", "clock",
        "stopped_at", "running_jobs",
    ]  # fmt: skip
    readonly_fields = ["condition", "queues_shown", "clock", "running_jobs"]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        # Counted by the index on running jobs; a join would read every job that a worker ever ran.
        running = Job.objects.filter(worker=OuterRef("pk"), state=JobState.RUNNING).order_by()
        count = running.values("worker").annotate(found=Count("pk")).values("found")
        return super().get_queryset(request).annotate(running_count=Coalesce(Subquery(count), 0))

    @display(description="Condition")
    def condition(self, worker: WorkerProcess) -> SafeString:
        return markup.badge(*condition(worker))

    @display(description="Running")
    def running(self, worker: Any) -> str:
        return str(worker.running_count)

    @display(description="Queues")
    def queues_shown(self, worker: WorkerProcess) -> SafeString:
        return queue_chips(worker)

    @display(description="Seen")
    def seen(self, worker: WorkerProcess) -> SafeString:
        return markup.moment(worker.seen_at)

    @display(description="Host's clock")
    def clock(self, worker: WorkerProcess) -> str:
        skew = worker.clock_skew_seconds
        if skew is None:
            return "-"
        return f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the database's"

    @display(description="Started")
    def started(self, worker: WorkerProcess) -> SafeString:
        return markup.moment(worker.started_at)

    @display(description="Running jobs")
    def running_jobs(self, worker: WorkerProcess) -> SafeString:
        jobs = worker.job_set.filter(state=JobState.RUNNING).only("id", "task")[:50]
        links = format_html_join(", ", "{}", ((markup.job_link(job.pk, job),) for job in jobs))
        return links or markup.NOTHING


def queue_chips(worker: WorkerProcess) -> SafeString:
    """The queues a worker listens to, without the ending they all share."""
    names = [str(name).removesuffix("-queue") for name in worker.queues or []]
    return format_html(
        '<span class="tp-chips">{}</span>', format_html_join("", "<span>{}</span>", ((n,) for n in names))
    )
