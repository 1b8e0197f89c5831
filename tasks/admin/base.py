"""What the console's lists have in common: read-only rows, and no query whose cost grows with all of history."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.dateparse import parse_date
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from tasks.moments import least_id_at

MAX_COUNTED_ROWS = 10_000


class BoundedPaginator(Paginator):
    """Counts at most MAX_COUNTED_ROWS: COUNT(*) reads the whole table, and OFFSET everything before the page."""

    template_name = "tasks/admin/pagination.html"

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return rows.order_by()[:MAX_COUNTED_ROWS].count() if isinstance(rows, QuerySet) else len(rows)

    @property
    def is_cut(self) -> bool:
        return self.count >= MAX_COUNTED_ROWS


class BoundedChangeList(ChangeList):
    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        """Without the filters left at "All": a form sends them too, and the list would count as filtered."""
        return {name: value for name, value in super().get_filters_params(params).items() if value != [""]}

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not (self.query or self.has_active_filters):
            self.full_result_count = self.result_count  # else the header offers "Show all" where all is shown


class ReadOnlyAdmin(ModelAdmin):
    """Rows that the platform writes: people look, and act only through actions."""

    list_per_page = 20
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    list_filter_submit = True
    list_disable_select_all = True
    actions: Any = []

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedChangeList

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class SelectFilter(admin.SimpleListFilter):
    """A native select: small, quick, and a wheel on phones. Choices are data, never a DISTINCT over the table."""

    template = "tasks/admin/filter_select.html"
    any_label = "All"

    def choices(self, changelist: Any) -> Iterator[Any]:
        for value, label in (("", self.any_label), *self.lookup_choices):
            yield {"value": value, "display": label, "selected": str(self.value() or "") == str(value)}

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(**{self.parameter_name or "": self.value()}) if self.value() else queryset


class CreatedFilter(admin.ListFilter):
    """From one day to another, both included, UTC. Ids are UUIDv7, so this reads a range of the primary key."""

    title = "created"
    parameter_name = "created"  # newer unfold asks every filter for one
    template = "tasks/admin/filter_dates.html"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: type, model_admin: ModelAdmin):
        super().__init__(request, params, model, model_admin)
        given = {name: params.pop(name, [""]) for name in ("created_from", "created_to")}
        self.days = {name: value[-1] if isinstance(value, list) else value for name, value in given.items()}
        self.used_parameters = {name: value for name, value in self.days.items() if value}

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.days)

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield {"name": "created_from", "label": "From", "value": self.days["created_from"]}
        yield {"name": "created_to", "label": "Until", "value": self.days["created_to"]}

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if first := day_of(self.days["created_from"]):
            queryset = queryset.filter(pk__gte=least_id_at(_midnight(first)))
        if last := day_of(self.days["created_to"]):
            queryset = queryset.filter(pk__lt=least_id_at(_midnight(last + timedelta(days=1))))
        return queryset


def day_of(text: str) -> date | None:
    try:
        day = parse_date(text)
    except ValueError:  # well formed, and no such day
        return None
    return day if day and 1970 <= day.year < 9999 else None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)


def go_to(request: HttpRequest, url: str) -> HttpResponse:
    """Leave a dialog for ``url``: htmx would follow a plain redirect and put the page inside the dialog."""
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)
