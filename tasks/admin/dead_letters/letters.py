"""Dead letters: the list, the page with its evidence, and replay, one by one or many at once."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from tasks import words
from tasks.admin import markup
from tasks.admin.base import CreatedFilter, ReadOnlyAdmin, SelectFilter, go_to
from tasks.admin.jobs import QueueFilter, TaskFilter
from tasks.dead_letters import replaying
from tasks.errors import BrokerUnavailable, IllegalTransition
from tasks.models import DeadLetter
from tasks.topology import UNROUTED_QUEUE

MAX_REFUSALS_TOLD = 5
MAX_SELECTED = 200


class LetterStateFilter(SelectFilter):
    """Open ones unless asked otherwise: what was replayed needs nobody."""

    title = "state"
    parameter_name = "state"
    any_label = "Open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(DeadLetter.State.REPLAYED.value, "Replayed"), ("all", "All")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() == "all":
            return queryset
        return queryset.filter(state=self.value() or DeadLetter.State.OPEN)


class ReasonFilter(SelectFilter):
    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return DeadLetter.Reason.choices


class LetterQueueFilter(QueueFilter):
    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*super().lookups(request, model_admin), (UNROUTED_QUEUE, UNROUTED_QUEUE)]


class DiedFilter(CreatedFilter):
    title = "died"


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = ["letter", "reason_of", "error_line", "job_of", "queue_of", "died", "state_of"]
    list_display_links = ["letter"]
    list_filter = [LetterStateFilter, ReasonFilter, TaskFilter, LetterQueueFilter, DiedFilter]
    search_fields = ["id"]
    search_help_text = "Job id, or text of the error"
    change_form_template = "tasks/admin/dead_letter.html"
    fields: Any = []
    actions = ["replay_selected"]
    actions_detail = ["replay"]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer("body", "headers", "properties", "traceback")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(job_id=UUID(term)), False
        except ValueError:
            newest = queryset.order_by("-id").values("pk")[:1000]  # no index holds errors; look at a bounded piece
            return queryset.filter(pk__in=newest, error__icontains=term), False

    # The list

    @display(description="Dead letter")
    def letter(self, letter: DeadLetter) -> str:
        return words.task_title(letter.task) if letter.task else "Message"

    @display(description="Reason")
    def reason_of(self, letter: DeadLetter) -> SafeString:
        return markup.reason_badge(letter)

    @display(description="Error")
    def error_line(self, letter: DeadLetter) -> SafeString:
        line = words.error_line(letter.error_type, letter.error)
        return (
            format_html('<span class="tp-line" title="{}">{}</span>', line[:500], line[:500])
            if line
            else markup.NOTHING
        )

    @display(description="Job")
    def job_of(self, letter: DeadLetter) -> SafeString:
        if letter.job_id is None:
            return markup.NOTHING
        text = str(letter.job_id)
        return markup.job_link(letter.job_id, f"{text[:8]}…{text[-4:]}")

    @display(description="Queue")
    def queue_of(self, letter: DeadLetter) -> SafeString:
        return format_html('<span class="tp-nowrap">{}</span>', letter.queue)

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
        letter = self.get_object(request, object_id)
        context = page_context(letter) if letter is not None and self.has_view_permission(request) else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    # Actions

    def has_replay_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return request.user.has_perm("tasks.replay_deadletter")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list:
        letter = self.get_object(request, object_id)
        is_open = letter is not None and letter.state == DeadLetter.State.OPEN
        return super().get_actions_detail(request, object_id) if is_open else []

    @action(
        description="Replay",
        icon="replay",
        variant=ActionVariant.PRIMARY,
        permissions=["replay"],
        dialog={
            "title": "Replay this dead letter?",
            "description": "Its job is queued again with a fresh count of attempts; a message without a job goes back, "
            "byte for byte, to where it was sent.",
            "form_class": BaseDialogForm,
            "form_submit_text": "Yes, replay it",
        },
    )
    def replay(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        try:
            letter = replaying.replay(UUID(object_id), requested_by=request.user.get_username())
        except (DeadLetter.DoesNotExist, ValueError):
            raise Http404 from None
        except (IllegalTransition, BrokerUnavailable) as error:
            messages.warning(request, f"Nothing was changed: {error}.")
        else:
            messages.success(request, "Its job is queued again." if letter.job_id else "The message was sent again.")
        return go_to(request, reverse("admin:tasks_deadletter_change", args=[object_id]))

    @action(description="Replay selected", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """Ask first, like Django's own "delete selected": this action comes by POST already, the answer by a second."""
        if not self.has_replay_permission(request):
            raise PermissionDenied
        letters = list(queryset.order_by("id")[:MAX_SELECTED])
        if request.POST.get("confirmed") != "yes":
            context = {
                **self.admin_site.each_context(request),
                "title": "Replay dead letters",
                "opts": self.opts,
                "letters": letters,
                "rows": [(letter, markup.reason_badge(letter), markup.letter_state(letter)) for letter in letters],
                "back": request.get_full_path(),
            }
            return TemplateResponse(request, "tasks/admin/replay_selected.html", context)
        self._replay_all(request, letters)
        return None

    def _replay_all(self, request: HttpRequest, letters: list[DeadLetter]) -> None:
        refusals: list[str] = []
        broker_error = ""
        for letter in letters:
            try:
                if broker_error and letter.job_id is None:  # do not wait for a dead broker once a letter
                    raise BrokerUnavailable(broker_error)
                replaying.replay(letter.pk, requested_by=request.user.get_username())
            except BrokerUnavailable as error:
                broker_error = str(error)
                refusals.append(f"{letter}: {error}")
            except (IllegalTransition, DeadLetter.DoesNotExist) as error:
                refusals.append(f"{letter}: {error}")
        done = len(letters) - len(refusals)
        if done:
            messages.success(request, f"{done} dead letter{'s' if done != 1 else ''} replayed.")
        if refusals:
            told = "; ".join(refusals[:MAX_REFUSALS_TOLD])
            more = f"; and {len(refusals) - MAX_REFUSALS_TOLD} more" if len(refusals) > MAX_REFUSALS_TOLD else ""
            messages.warning(request, f"{len(refusals)} not replayed. {told}{more}.")


CAUSES: dict[str, str] = {
    DeadLetter.Reason.PERMANENT: "The task said that no retry can mend this. Mend the cause, then replay.",
    DeadLetter.Reason.EXHAUSTED: "Every attempt of its retry policy failed; this is the error of the last one.",
    DeadLetter.Reason.WORKER_LOST: "Its process disappeared, as often as the retry policy or POISON_LIMIT allows.",
    DeadLetter.Reason.TIME_LIMIT: "It ran past its task's time limit and was ended.",
    DeadLetter.Reason.EXPIRED: "Its time had passed before a worker was free to begin.",
    DeadLetter.Reason.UNKNOWN_TASK: "No build that read it knows a task of this name. Deploy the task, then replay.",
    DeadLetter.Reason.INVALID_PAYLOAD: "Its payload does not fit what the task accepts today.",
    DeadLetter.Reason.UNDECODABLE: "The message could not be read: wrong content type, or not JSON.",
    DeadLetter.Reason.UNKNOWN_MESSAGE: "The message asks for no job that exists here.",
    DeadLetter.Reason.UNROUTED: "No queue takes messages sent to that exchange with that routing key.",
    DeadLetter.Reason.DELIVERY_LIMIT: "The broker gave it to workers again and again, and none could even begin.",
}


def page_context(letter: DeadLetter) -> dict[str, Any]:
    properties = {name: value for name, value in (letter.properties or {}).items() if name != "deaths"}
    body_kind, body = words.body(bytes(letter.body)) if letter.body is not None else ("", "")
    return {
        "letter": letter,
        "reason": markup.reason_badge(letter),
        "state": markup.letter_state(letter),
        "cause": CAUSES.get(letter.reason, ""),
        "task_title": words.task_title(letter.task) if letter.task else "",
        "job_link": markup.job_link(letter.job_id, letter.job_id) if letter.job_id else markup.NOTHING,
        "died": markup.moment(letter.died_at),
        "collected": markup.moment(letter.collected_at),
        "replayed": markup.moment(letter.replayed_at),
        "deaths": words.deaths(letter),
        "headers": words.pretty(letter.headers) if letter.headers else "",
        "properties": words.pretty(properties) if properties else "",
        "body_kind": body_kind,
        "body": body,
        "traceback": words.shortened(letter.traceback),
        "seen": words.evidence(letter.evidence or {}),
        "log": "\n".join((letter.evidence or {}).get("log") or []),
    }
