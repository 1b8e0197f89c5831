"""How far an operation is, as its page and the list show it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from tasks import words
from tasks.admin import markup
from tasks.admin.buttons import Button, button
from tasks.admin.dead_letters.starting import UNDONE_BY
from tasks.admin.markup import short
from tasks.admin.workers import alive
from tasks.dead_letters import operations
from tasks.dead_letters.carrying import GOING_ON
from tasks.dead_letters.preflight import Blocker
from tasks.models import DeadLetter, Operation, OperationItem, ParkedJob
from tasks.permissions import of_operation
from tasks.purging import VERBS as OF_QUEUES
from tasks.states import JobState

ITEMS_SHOWN = 25

Verb = Operation.Verb
State = Operation.State
ItemState = OperationItem.State

_STATES: dict[str, tuple[str, str]] = {
    State.RUNNING: ("running", "play_arrow"),
    State.PAUSED: ("warn", "pause"),
    State.STOPPED: ("bad", "front_hand"),
    State.CANCELLED: ("quiet", "block"),
    State.DONE: ("ok", "check"),
}

_ITEMS: dict[str, tuple[str, str, str]] = {
    ItemState.FAILED: ("Failed", "bad", "close"),
    ItemState.SENT: ("Under way", "running", "play_arrow"),
    ItemState.SKIPPED: ("Left out", "quiet", "block"),
    ItemState.DONE: ("Done", "ok", "check"),
    ItemState.PENDING: ("Waiting", "queued", "hourglass_empty"),
}
"""In the order in which they are listed: what needs a look comes first."""


_COUNTS = {"done": "done", "failed": "failed", "running": "under way"}


@dataclass(frozen=True)
class Part:
    """A part of the bar. ``kind`` gives its colour and pattern; the legend says the same in words."""

    kind: str
    label: str
    icon: str
    number: int
    percent: str
    """As CSS reads it."""


def state_badge(operation: Operation) -> SafeString:
    kind, icon = _STATES[operation.state]
    return markup.badge(operation.get_state_display(), kind, icon)


def parts(operation: Operation) -> list[Part]:
    """What has become of all that the operation was confirmed for, and of what was left out then and later."""
    waiting = "Waiting" if operation.state in GOING_ON else "Not sent"
    numbers = [
        ("done", "Done", "check", operation.done),
        ("failed", "Failed", "close", operation.failed),
        ("running", "Under way", "play_arrow", operation.sent),
        ("waiting", waiting, "hourglass_empty", operation.waiting),
        ("skipped", "Left out", "block", sum(operation.skipped.values())),
    ]
    total = sum(number for *_, number in numbers) or 1
    return [Part(kind, label, icon, number, _percent(number, total)) for kind, label, icon, number in numbers]


def bar(found: list[Part]) -> SafeString:
    spans = ((part.kind, part.percent) for part in found if part.number)
    return format_html(
        '<span class="tp-stack" role="img" aria-label="{}">{}</span>',
        ", ".join(f"{part.number:,} {part.label.lower()}" for part in found if part.number),
        format_html_join("", '<span class="tp-stack-{}" style="width: {}%"></span>', spans),
    )


def in_words(operation: Operation) -> str:
    """`480 of 500, 3 failed`, for a line of a list."""
    ended = operation.done + operation.failed
    failed = f", {operation.failed:,} failed" if operation.failed else ""
    return f"{ended:,} of {operation.total:,}{failed}"


def text_of(query: str | dict[str, Any]) -> str | None:
    """A query as it is typed; None for what can not be typed."""
    if isinstance(query, str):
        return query
    if "operation" in query or "states" in query:
        return None
    tokens = []
    for name, value in query.items():
        for each in value if isinstance(value, list) else [value]:
            if '"' in str(each) or isinstance(each, (dict, list)):
                return None
            text = f'"{each}"' if " " in str(each) else str(each)
            tokens.append(text if name == "text" else f"{name}:{text}")
    return " ".join(tokens)


def subject(operation: Operation) -> str:
    """What it is about, in a line."""
    query = operation.query
    if isinstance(query, dict) and "operation" in query:
        return "What an operation purged" if operation.verb == Verb.UNPURGE else "What an operation discarded"
    if operation.verb == Verb.PURGE:
        asked = query if isinstance(query, dict) else {"queue": query}
        states = asked.get("states") or [JobState.QUEUED]
        return f"{asked.get('queue', '')}: {', '.join(states)} jobs"
    text = text_of(query)
    return words.pretty(query) if text is None else text or "all letters"


def subject_url(operation: Operation) -> str:
    """To those it is about, or to the operation that it undoes; "" where no page shows them."""
    query = operation.query
    if operation.undoes_id:
        return reverse("admin:tasks_operation_change", args=[operation.undoes_id])
    if operation.verb == Verb.PURGE and isinstance(query, dict):
        return f"{reverse('admin:tasks_job_changelist')}?{urlencode({'queue': query.get('queue', '')})}"
    text = text_of(query)
    return "" if not text else f"{reverse('admin:tasks_deadletter_changelist')}?{urlencode({'q': text})}"


def title(operation: Operation) -> str:
    unit = "job" if operation.verb in OF_QUEUES else "letter"
    what = operation.get_verb_display()
    number = f"{operation.total:,} {unit}{'' if operation.total == 1 else 's'}"
    return f"{what}: {number}" if operation.verb in OF_QUEUES else f"{what} {number}"


def seen(operation: Operation) -> str:
    """What a poll compares, to answer in one small query while nothing moves."""
    counts = (operation.sent, operation.done, operation.failed, operation.waiting, sum(operation.skipped.values()))
    return ".".join(map(str, (operation.state, operation.step, *counts, int(operation.finished_at is not None))))


def moving(operation: Operation) -> dict[str, Any]:
    """What a poll swaps. The queries are as few for a large operation as for a small one."""
    told = operations.progress(operation)
    found = parts(operation)
    return {
        "operation": operation,
        "heading": title(operation),
        "state": state_badge(operation),
        "said": _said(operation),
        "alert": _alert(operation),
        "parts": found,
        "bar": bar(found),
        "steps": list(_steps(operation, told["steps"])) if operation.steps else [],
        "eta": _eta(operation, told["eta_seconds"]),
        "finished": markup.moment(operation.finished_at),
        "skipped": [(Blocker(reason).label, number) for reason, number in sorted(operation.skipped.items())],
        "no_worker": operation.finished_at is None and not alive().exists(),
        "seen": seen(operation),
    }


def resting(operation: Operation) -> dict[str, Any]:
    """What stays as it is while the operation goes on."""
    return {
        "subject": subject(operation),
        "subject_url": subject_url(operation),
        "pace": _pace(operation),
        "created": markup.moment(operation.created_at),
        "undone_by": list(operation.undone_by.order_by("-id")[:5]),
    }


def page_buttons(request: HttpRequest, operation: Operation) -> list[Button]:
    """What its state lets people do."""
    found = []
    if operation.state == State.RUNNING:
        found.append(_act(request, operation, "pause", "Pause", "pause"))
    if operation.state == State.PAUSED:
        found.append(_act(request, operation, "resume", "Resume", "play_arrow"))
    if operation.state in GOING_ON:
        found.append(_act(request, operation, "cancel", "Cancel…", "block"))
    if operation.verb in UNDONE_BY:
        undo = UNDONE_BY[operation.verb]
        found.append(
            button(
                request.user, "operations.start", of_operation(undo), text="Undo…", icon="undo",
                url=reverse("admin:tasks_operation_undo", args=[operation.pk]), unless=_not_undone_since(operation),
            )
        )  # fmt: skip
    text = text_of(operation.query)
    if operation.verb == Verb.REPLAY and operation.state in (State.STOPPED, State.CANCELLED) and text is not None:
        query = urlencode({"verb": operation.verb, "q": text})
        found.append(
            button(
                request.user, "operations.start", of_operation(operation.verb), text="Same query again…",
                icon="replay", url=f"{reverse('admin:tasks_operation_start')}?{query}",
            )
        )  # fmt: skip
    return found


def undoable_until(operation: Operation) -> Any:
    """When what it discarded or purged begins to be deleted; None where nothing of it can be restored any more."""
    if operation.verb == Verb.PURGE:
        parked = ParkedJob.objects.filter(operation=operation).order_by("place")
        return parked.values_list("delete_at", flat=True).first()
    if operation.verb == Verb.DISCARD:
        done = operation.items.filter(state=ItemState.DONE, letter__state=DeadLetter.State.DISCARDED).order_by("place")
        return done.values_list("letter__delete_at", flat=True).first()
    return None


@dataclass(frozen=True)
class Items:
    """A page of the set, and the ways to others."""

    rows: list[dict[str, Any]]
    jumps: list[dict[str, Any]]
    after: str
    is_first: bool


def items(operation: Operation, begin: str = "") -> Items:
    """The failed first, then the running, and so on; from ``begin``, "failed:120" being the failed from place 120 on.

    A page reads an index from there, whatever the operation's size.
    """
    states = list(_ITEMS)
    state, _, place = begin.partition(":")
    at = states.index(ItemState(state)) if state in states else 0
    first_place = int(place) if state in states and place.isdecimal() and len(place) < 10 else 0
    found: list[OperationItem] = []
    for number, of_state in enumerate(states[at:]):
        rows = operation.items.filter(state=of_state, place__gte=first_place if not number else 0)
        rows = rows.select_related("letter", "job").order_by("place")
        rows = rows.only(
            "place", "state", "why", "operation", "letter__task", "letter__queue", "job__task", "job__state"
        )
        found += rows[: ITEMS_SHOWN + 1 - len(found)]
        if len(found) > ITEMS_SHOWN:
            break
    more = found[ITEMS_SHOWN:]
    counts = (operation.failed, operation.sent, sum(operation.skipped.values()), operation.done, operation.waiting)
    return Items(
        rows=[_item(operation, item) for item in found[:ITEMS_SHOWN]],
        jumps=[
            {"label": _item_label(operation, name), "icon": _ITEMS[name][2], "number": number, "begin": f"{name}:0"}
            for name, number in zip(states, counts, strict=True)
            if number
        ],
        after=f"{more[0].state}:{more[0].place}" if more else "",
        is_first=not begin,
    )


def _item(operation: Operation, item: OperationItem) -> dict[str, Any]:
    _, kind, icon = _ITEMS[item.state]
    id = item.letter_id or item.job_id
    task = item.letter.task if item.letter else item.job.task if item.job else ""
    return {
        "place": item.place + 1,
        "badge": markup.badge(_item_label(operation, item.state), kind, icon),
        "name": words.task_title(task) if task else "Message",
        "url": reverse("admin:tasks_deadletter_change", args=[item.letter_id])
        if item.letter_id
        else reverse("admin:tasks_job_change", args=[item.job_id])
        if item.job_id
        else "",
        "id": id,
        "short_id": short(id) if id else "",
        "job": markup.job_link(item.job_id, "its job") if item.letter_id and item.job_id else "",
        "job_state": markup.state_badge(item.job.state) if item.job and item.state == ItemState.SENT else "",
        "why": item.why,
    }


def _item_label(operation: Operation, state: str) -> str:
    if state == ItemState.PENDING and operation.state not in GOING_ON:
        return "Not sent"
    return _ITEMS[state][0]


def _act(request: HttpRequest, operation: Operation, verb: str, text: str, icon: str) -> Button:
    return button(
        request.user,
        f"operations.{verb}",
        of_operation(operation.verb),
        text=text,
        icon=icon,
        url=reverse(f"admin:tasks_operation_{verb}", args=[operation.pk]),
        kind={"resume": "primary", "cancel": "danger"}.get(verb, ""),  # type: ignore[arg-type]
        posts=verb != "cancel",
    )


def _not_undone_since(operation: Operation) -> str:
    if operation.finished_at is None:
        return "It still goes on: cancel it, or wait."
    if operation.undone_by.filter(state__in=(State.RUNNING, State.DONE)).exists():
        return "It is undone, or just being."
    return "" if undoable_until(operation) else "Nothing of it can be restored any more."


def _said(operation: Operation) -> str:
    """For those who hear the page: said anew with each state and each step."""
    at = f", {_label(operation, operation.step).lower()}" if operation.steps and operation.step else ""
    return f"{operation.get_state_display()}{at}. {operation.verdict}".strip()


def _label(operation: Operation, number: int) -> str:
    return f"Step {number}" if number <= len(operation.steps) else "The rest"


def _alert(operation: Operation) -> str:
    """How loudly its verdict is said."""
    if not operation.verdict:
        return ""
    if operation.state == State.STOPPED:
        return "tp-alert"
    return "tp-alert tp-alert-warn" if operation.state in GOING_ON else "tp-verdict"


def _steps(operation: Operation, told: list[dict[str, int]]) -> Iterator[dict[str, Any]]:
    for step in told:
        number, size, sent = step["step"], step["size"], step["sent"]
        if operation.state == State.STOPPED and number == operation.step:
            kind, icon, what = "stopped", "front_hand", "stopped here"
        elif not sent:
            is_to_come = operation.state in GOING_ON
            kind, icon, what = "waiting", "hourglass_empty", "to come" if is_to_come else "not sent"
        elif step["running"] or sent < size:
            kind, icon, what = "running", "play_arrow", "under way"
        elif step["failed"]:
            kind, icon, what = "failed", "warning", "through, with failures"
        else:
            kind, icon, what = "done", "check", "went well"
        yield {
            **step,
            "label": _label(operation, number),
            "kind": kind,
            "icon": icon,
            "what": what,
            "counts": [(step[name], _COUNTS[name]) for name in _COUNTS if step[name]],
            "percent": [(name, _percent(step[name], size)) for name in _COUNTS if step[name]],
        }


def _percent(number: int, total: int) -> str:
    """As CSS reads it, whatever the language of the page."""
    return f"{number * 100 / total:.3f}"


def _pace(operation: Operation) -> str:
    if operation.verb != Verb.REPLAY:
        return ""
    rate = f"{operation.rate_per_second:g} a second" if operation.rate_per_second else "as fast as it can"
    if operation.steps:
        return f"{', then '.join(map(str, operation.steps))}, then the rest, {rate}"
    return f"no canary; {rate}"


def stop_words(operation: Operation) -> str:
    if operation.verb != Verb.REPLAY:
        return ""
    if operation.stop_ratio is None or operation.stop_ratio >= 1:
        return "never"
    return f"when more than {operation.stop_ratio * 100:g} % fail"


def _eta(operation: Operation, seconds: float | None) -> str:
    """When it will be through, in words; "" where it is not under way."""
    if operation.state != State.RUNNING:
        return ""
    if not operation.waiting:
        return "waits for the last outcomes"
    if seconds is None:
        return "nobody can say yet"
    about = f"in about {words.duration(seconds)}"
    return f"{about}, once the first steps went well" if operation.step <= len(operation.steps) else about
