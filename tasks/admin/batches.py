"""Batches: how far each is, and the way to its jobs."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from tasks.admin import markup
from tasks.admin.base import CreatedFilter, ReadOnlyAdmin
from tasks.models import Batch, Job
from tasks.states import FINAL, JobState


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    list_display = ["batch", "progress_shown", "requested_by", "created"]
    list_filter = [CreatedFilter]
    search_fields = ["=id", "=name"]
    search_help_text = "Batch id or name"
    fields = ["name", "id", "states", "total", "requested_by", "idempotency_key", "created", "jobs"]
    readonly_fields = ["id", "states", "created", "jobs"]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).annotate(ended=_count(FINAL), dead=_count([JobState.DEAD]))

    @display(description="Batch")
    def batch(self, batch: Batch) -> str:
        return str(batch)

    @display(description="Progress")
    def progress_shown(self, batch: Any) -> SafeString:
        dead = format_html(" {}", markup.badge(f"{batch.dead:,} dead", "bad")) if batch.dead else ""
        return format_html(
            '<span class="tp-nowrap">{} of {} ended{}</span>', f"{batch.ended:,}", f"{batch.total:,}", dead
        )

    @display(description="States")
    def states(self, batch: Batch) -> SafeString:
        found = batch.progress()
        shown = ((markup.state_badge(state), f"{found[state]:,}") for state in JobState if state in found)
        return format_html_join(" ", '<span class="tp-nowrap">{} {}</span>', shown) or markup.NOTHING

    @display(description="Created")
    def created(self, batch: Batch) -> SafeString:
        return markup.moment(batch.created_at)

    @display(description="Jobs")
    def jobs(self, batch: Batch) -> SafeString:
        url = f"{reverse('admin:tasks_job_changelist')}?batch={batch.pk}"
        return format_html('<a class="tp-link" href="{}">The jobs of this batch</a>', url)


def _count(states: Any) -> Coalesce:
    """The jobs of each batch that are in ``states``; counted for the rows of the page alone."""
    jobs = Job.objects.filter(batch=OuterRef("pk"), state__in=states).order_by()
    return Coalesce(Subquery(jobs.values("batch").annotate(found=Count("pk")).values("found")), 0)
