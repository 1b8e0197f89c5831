"""The audit trail: who did what, to how many and why; and whether it is as it was written."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.decorators import display

from tasks import audit, words
from tasks.admin import markup
from tasks.admin.base import CreatedFilter, ReadOnlyAdmin, SelectFilter, day_of
from tasks.models import AuditEntry
from tasks.permissions import RIGHTS, missing

NEWEST = 50_000
"""Entries that a search looks at where no days are named; the trail grows for ever, and no index knows its words."""

VERIFIED = 50_000
"""Entries that a page verifies: a second or two. `manage.py audit verify` reads them all."""

MAX_FAULTS_TOLD = 10

_RECORDED = [verb for verb in RIGHTS if verb.split(".")[1] not in ("view", "enqueue", "rehearse")]
"""Verbs that entries are made of."""

_PAGES = {
    "dead_letters": "admin:tasks_deadletter_change",
    "operations": "admin:tasks_operation_change",
    "groups": "admin:tasks_failuregroup_change",
}


class VerbFilter(SelectFilter):
    title = "what was done"
    parameter_name = "verb"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(verb, in_words(verb)) for verb in _RECORDED]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return newest(request, queryset).filter(verb=self.value()) if self.value() else queryset


class DayFilter(CreatedFilter):
    """From one day to another, both included, UTC, by the index on the moment."""

    title = "when"

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if first := day_of(self.days["created_from"]):
            queryset = queryset.filter(at__gte=_midnight_after(first - timedelta(days=1)))
        if last := day_of(self.days["created_to"]):
            queryset = queryset.filter(at__lt=_midnight_after(last))
        return queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ["number", "what", "who", "to_what", "how_many", "why", "when"]
    list_display_links = ["number", "what"]
    list_filter = [VerbFilter, DayFilter]
    list_before_template = "tasks/admin/audit_verify.html"
    verified = VERIFIED
    search_fields = ["actor"]  # shows the box; get_search_results decides
    search_help_text = f"Who, what or why (newest {NEWEST:,})"
    change_form_template = "tasks/admin/audit_entry.html"
    fields: Any = []

    def get_urls(self) -> list[URLPattern]:
        verify = require_POST(self.admin_site.admin_view(self.verify))
        return [path("verify/", verify, name="tasks_auditentry_verify"), *super().get_urls()]

    # The list

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        has_it = Q(actor__icontains=term) | Q(subject__icontains=term) | Q(reason__icontains=term)
        return newest(request, queryset).filter(has_it), False

    @display(description="No.")
    def number(self, entry: AuditEntry) -> str:
        return f"{entry.pk:,}"

    @display(description="What was done")
    def what(self, entry: AuditEntry) -> SafeString:
        return format_html('{}<span class="tp-id">{}</span>', act(entry), entry.verb)

    @display(description="By")
    def who(self, entry: AuditEntry) -> str:
        return entry.actor

    @display(description="To what")
    def to_what(self, entry: AuditEntry) -> SafeString:
        return subject(entry)

    @display(description="How many")
    def how_many(self, entry: AuditEntry) -> str:
        return f"{entry.count:,}"

    @display(description="Why")
    def why(self, entry: AuditEntry) -> SafeString:
        if not entry.reason:
            return markup.NOTHING
        return format_html('<span class="tp-line" title="{}">{}</span>', entry.reason, entry.reason[:200])

    @display(description="When")
    def when(self, entry: AuditEntry) -> SafeString:
        return markup.moment(entry.at)

    # The page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        entry = self.get_object(request, object_id)
        context = page_context(entry) if entry is not None and self.has_view_permission(request) else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def verify(self, request: HttpRequest) -> HttpResponse:
        """Whether the newest entries are as they were written, in a message."""
        if why_not := missing(request.user, "audit.view"):
            raise PermissionDenied(why_not)
        last = AuditEntry.objects.order_by("-id").first()
        first = max(1, last.pk - VERIFIED + 1) if last else 1
        faults = list(audit.faults(first=first))
        if last is None:
            messages.info(request, "There is no entry yet.")
        elif not faults:
            rest = f" Those before {first:,} were not read: manage.py audit verify reads all." if first > 1 else ""
            messages.success(
                request,
                f"Entries {first:,} to {last.pk:,} are as they were written. Last digest: {last.digest}. "
                f"Keep it elsewhere to notice an end that was cut off.{rest}",
            )
        else:
            told = "; ".join(f"entry {fault.entry:,} {fault.what}" for fault in faults[:MAX_FAULTS_TOLD])
            more = f"; and {len(faults) - MAX_FAULTS_TOLD:,} more" if len(faults) > MAX_FAULTS_TOLD else ""
            messages.error(request, f"The audit trail can not be trusted: {told}{more}.")
        return HttpResponseRedirect(reverse("admin:tasks_auditentry_changelist"))


def newest(request: HttpRequest, entries: QuerySet) -> QuerySet:
    """``entries``, without those before the NEWEST up to the last day asked for; all since the first day, where there
    is one: the index on the moment bounds what is read."""
    if day_of(request.GET.get("created_from", "")):
        return entries
    known = AuditEntry.objects.order_by("-at", "-id")
    if until := day_of(request.GET.get("created_to", "")):
        known = known.filter(at__lt=_midnight_after(until))
    last = known.values_list("pk", flat=True).first() or 0
    return entries.filter(pk__gt=last - NEWEST)


def in_words(verb: str) -> str:
    """ "Discard dead letters"; a verb that is no more, as it is."""
    return RIGHTS[verb].words.capitalize() if verb in RIGHTS else verb


def act(entry: AuditEntry) -> str:
    """ "Start operations on many: replay"."""
    verb = entry.detail.get("verb", "") if isinstance(entry.detail, dict) else ""
    return f"{in_words(entry.verb)}: {verb}" if verb and entry.verb == "operations.start" else in_words(entry.verb)


def subject(entry: AuditEntry) -> SafeString:
    """What it was done to, with a link to its page where it has one."""
    text = entry.subject
    operation = (entry.detail or {}).get("operation") if isinstance(entry.detail, dict) else None
    if job := _uuid(text.removeprefix("job ")) if text.startswith("job ") else None:
        return markup.job_link(job, f"job {markup.short(job)}")
    if operation and (id := _uuid(str(operation))):
        url = reverse("admin:tasks_operation_change", args=[id])
        return format_html('<a class="tp-link tp-break" href="{}">{}</a>', url, text[:120] or "all letters")
    page = _PAGES.get(entry.verb.partition(".")[0])
    if page and (id := _uuid(text)):
        try:
            url = reverse(page, args=[id])
        except NoReverseMatch:
            return format_html('<code title="{}">{}</code>', id, markup.short(id))
        return format_html('<a class="tp-link tp-nowrap" href="{}">{}</a>', url, markup.short(id))
    return format_html('<span class="tp-break">{}</span>', text) if text else markup.NOTHING


def page_context(entry: AuditEntry) -> dict[str, Any]:
    """The entry with its neighbours; whether it fits its digest, and the one before it."""
    before, after = (
        AuditEntry.objects.filter(pk=number).only("digest", "previous").first()
        for number in (entry.pk - 1, entry.pk + 1)
    )
    follows = entry.previous == (before.digest if before else "")
    checks = [(entry.digest == audit.digest_of(entry), "It fits its digest", "It was altered: it does not fit")]
    if before or entry.pk > 1:
        checks.append((follows, "It follows the entry before it", "It does not follow the entry before it"))
    if after:
        checks.append((after.previous == entry.digest, "The next one follows it", "The next one does not follow it"))
    return {
        "entry": entry,
        "heading": act(entry),
        "subject": subject(entry),
        "at": markup.moment(entry.at),
        "detail": words.pretty(entry.detail) if entry.detail else "",
        "checks": [
            markup.badge(good if is_so else bad, "ok" if is_so else "bad", "check" if is_so else "close")
            for is_so, good, bad in checks
        ],
        "before": before,
        "after": after,
    }


def _midnight_after(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
