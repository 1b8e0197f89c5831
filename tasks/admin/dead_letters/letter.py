"""One dead letter: what happened, all that is known of it, and what can be done."""

from typing import Any

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from tasks import words
from tasks.admin import attempts, markup
from tasks.admin.buttons import Button, button
from tasks.admin.dead_letters.links import page_context, require, url_of, uuid_or_404
from tasks.dead_letters import groups, inspection
from tasks.dead_letters.inspection import Inspection
from tasks.models import DeadLetter, LetterEdit, OperationItem

MAX_OPERATIONS = 20
_CONTROLS = {code: f"\\x{code:02x}" for code in range(32) if chr(code) not in "\t\r\n"}
"""A browser shows nothing in their place."""

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


def urls(admin: ModelAdmin) -> list[URLPattern]:
    view = admin.admin_site.admin_view(document)
    return [path("<str:letter_id>/document/", view, name="tasks_deadletter_document")]


def page(admin: ModelAdmin, request: HttpRequest, letter_id: str) -> HttpResponse:
    require(request, "dead_letters.view")
    if request.method not in ("GET", "HEAD"):
        raise PermissionDenied("A dead letter is never changed; what is done to it has pages of its own.")
    letter = get_object_or_404(DeadLetter, pk=uuid_or_404(letter_id))
    return answer(admin, request, letter, inspection.inspect(letter.pk), is_unmasked=False)


def document(request: HttpRequest, letter_id: str) -> HttpResponse:
    """All of the letter as JSON, masked, to be copied."""
    require(request, "dead_letters.view")
    letter = get_object_or_404(DeadLetter.objects.only("pk"), pk=uuid_or_404(letter_id))
    document = inspection.inspect(letter.pk).document()
    return JsonResponse(document, json_dumps_params={"indent": 2, "ensure_ascii": False})


def answer(
    admin: ModelAdmin, request: HttpRequest, letter: DeadLetter, seen: Inspection, *, is_unmasked: bool
) -> HttpResponse:
    """The page, as ``seen`` by whom it is for. Nothing keeps it: ``admin_view`` sends no-store with every answer."""
    context = {
        **page_context(admin, request),
        **_head(letter, seen),
        **_evidence(letter, seen),
        "title": f"Dead letter: {title_of(letter)}",
        "is_unmasked": is_unmasked,
        "buttons": _buttons(request, letter, seen, is_unmasked=is_unmasked),
        "document_url": url_of("tasks_deadletter_document", letter.pk),
        "page_url": reverse("admin:tasks_deadletter_change", args=[letter.pk]),
        "group": _group(seen),
        "edits": _edits(letter),
        "operations": _operations(letter),
    }
    return TemplateResponse(request, "tasks/admin/letter.html", context)


def title_of(letter: DeadLetter) -> str:
    return words.task_title(letter.task) if letter.task else "Message without a task"


def not_open(letter: DeadLetter) -> str:
    """Why nothing can be done to it that an open letter is needed for; "" where it is open."""
    return "" if letter.state == DeadLetter.State.OPEN else f"It is {letter.get_state_display().lower()}, not open."


def not_restorable(letter: DeadLetter) -> str:
    if letter.state != DeadLetter.State.DISCARDED:
        return f"It is {letter.get_state_display().lower()}, not discarded."
    if letter.delete_at is None or letter.delete_at <= timezone.now():
        return "The time in which it could be restored is over."
    return ""


def waiting_edit(letter: DeadLetter) -> LetterEdit | None:
    return letter.edits.filter(state=LetterEdit.State.PROPOSED).first()


def _buttons(request: HttpRequest, letter: DeadLetter, seen: Inspection, *, is_unmasked: bool) -> list[Button]:
    def one(name: str, verb: str, text: str, icon: str, **more: Any) -> Button:
        return button(
            request.user, f"dead_letters.{verb}", text=text, icon=icon,
            url=url_of(f"tasks_deadletter_{name}", letter.pk), **more,
        )  # fmt: skip

    no = not_open(letter)
    waits = "An edit of it waits for approval." if not no and waiting_edit(letter) else ""
    no_job = "" if letter.job_id else "There is no job in it to rehearse."
    text, icon = ("Edit", "edit") if letter.job_id else ("Repair", "build")
    buttons = [
        one("replay", "replay", "Replay", "replay", kind="primary", unless=no),
        one("edit", "edit", text, icon, unless=no or waits),
        one("rehearse", "rehearse", "Rehearse", "science", unless=no_job or no),
    ]
    if letter.state == DeadLetter.State.DISCARDED:
        buttons.append(one("restore", "restore", "Restore", "undo", kind="primary", unless=not_restorable(letter)))
    else:
        buttons.append(one("discard", "discard", "Discard", "delete", kind="danger", unless=no))
    if seen.is_masked and not is_unmasked:
        buttons.append(one("unmask", "unmask", "Unmask", "visibility"))
    return [each for each in buttons if each.url]


def _head(letter: DeadLetter, seen: Inspection) -> dict[str, Any]:
    cause = seen.cause[:1].upper() + seen.cause[1:]
    return {
        "letter": letter,
        "seen": seen,
        "task_title": title_of(letter),
        "reason": markup.reason_badge(letter),
        "state": markup.letter_state(letter),
        "cause": f"{cause}. {CAUSES.get(letter.reason, '')}".strip(),
        "job_link": markup.job_link(letter.job_id, letter.job_id) if letter.job_id else markup.NOTHING,
        "died": markup.moment(letter.died_at),
        "collected": markup.moment(letter.collected_at),
        "replayed": markup.moment(letter.replayed_at),
        "discarded": markup.moment(letter.discarded_at),
        "restorable": not not_restorable(letter),
    }


def _evidence(letter: DeadLetter, seen: Inspection) -> dict[str, Any]:
    properties = {name: value for name, value in seen.properties.items() if name != "deaths"}
    return {
        "has_payload": letter.job_id is not None or seen.payload is not None,
        "payload": words.pretty(seen.payload),
        "headers": words.pretty(seen.headers) if seen.headers else "",
        "properties": words.pretty(properties) if properties else "",
        "body_text": seen.body.text.translate(_CONTROLS) if seen.body else "",
        "traceback": words.shortened(seen.traceback),
        "lost": words.evidence(seen.evidence),
        "log": "\n".join(map(str, seen.evidence.get("log") or [])),
        "attempts": [
            {
                "number": attempt.number,
                "badge": attempts.status_badge(attempt.status),
                "worker": attempt.worker,
                "took": words.duration(attempt.seconds) if attempt.seconds is not None else "",
                "at": markup.moment(attempt.ended_at),
                "error": words.error_line(attempt.error_type, attempt.error),
                "traceback": words.shortened(attempt.traceback),
            }
            for attempt in seen.attempts
        ],
        "timeline": [
            {
                "kind": moment.kind,
                "text": moment.text,
                # The words of an event name who asked for it already.
                "by": "" if moment.by and f"by {moment.by}" in moment.text else moment.by,
                "attempt": moment.attempt,
                "at": markup.moment(moment.at),
            }
            for moment in seen.timeline
        ],
    }


def _group(seen: Inspection) -> dict[str, Any] | None:
    group = seen.group
    if group is None:
        return None
    return {
        "row": group,
        "url": url_of("tasks_failuregroup_change", group.pk),
        "status": markup.group_status(groups.status_of(group, timezone.now())),
    }


def _edits(letter: DeadLetter) -> dict[str, Any]:
    def row(edit: LetterEdit) -> dict[str, Any]:
        return {
            "edit": edit,
            "url": url_of("tasks_letteredit_change", edit.pk),
            "state": _edit_state(edit),
            "at": markup.moment(edit.edited_at),
            "decided": markup.moment(edit.decided_at) if edit.decided_at else "",
        }

    rows = [row(edit) for edit in letter.edits.select_related("job").defer("payload")]
    waiting = [each for each in rows if each["edit"].state == LetterEdit.State.PROPOSED]
    return {"rows": rows, "waiting": waiting[0] if waiting else None}


_EDIT_STATES: dict[str, tuple[str, str]] = {
    LetterEdit.State.PROPOSED: ("warn", "hourglass_empty"),
    LetterEdit.State.APPLIED: ("ok", "check"),
    LetterEdit.State.REJECTED: ("bad", "close"),
}


def _edit_state(edit: LetterEdit) -> SafeString:
    return markup.badge(edit.get_state_display(), *_EDIT_STATES[edit.state])


_ITEM_STATES: dict[str, str] = {
    OperationItem.State.PENDING: "quiet",
    OperationItem.State.SENT: "running",
    OperationItem.State.DONE: "ok",
    OperationItem.State.FAILED: "bad",
    OperationItem.State.SKIPPED: "quiet",
}


def _operations(letter: DeadLetter) -> list[dict[str, Any]]:
    items = OperationItem.objects.filter(letter=letter).select_related("operation").order_by("-id")
    return [
        {
            "item": item,
            "operation": item.operation,
            "url": url_of("tasks_operation_change", item.operation_id),
            "state": markup.badge(item.get_state_display(), _ITEM_STATES[item.state]),
            "at": markup.moment(item.operation.created_at),
        }
        for item in items[:MAX_OPERATIONS]
    ]
