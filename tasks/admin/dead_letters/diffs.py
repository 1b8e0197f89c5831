"""An edit's differences as rows of a table, and where it sends its job."""

import json
from typing import Any

from django.utils.safestring import SafeString

from tasks import words
from tasks.admin import markup
from tasks.dead_letters.diffing import ABSENT, Change
from tasks.models import LetterEdit

_KINDS = {
    "added": ("Added", "ok", "add"),
    "removed": ("Removed", "bad", "remove"),
    "changed": ("Changed", "warn", "edit"),
}


def rows(changes: list[Change]) -> list[dict[str, Any]]:
    return [
        {
            "field": change.field,
            "kind": change.kind,
            "badge": _badge(change),
            "before": _text(change.before),
            "after": _text(change.after),
        }
        for change in changes
    ]


def where_it_goes(edit: LetterEdit) -> list[tuple[str, str]]:
    """What the edit names beside the payload."""
    letter = edit.letter
    was = letter.job.task if letter.job is not None else letter.task
    title = words.task_title(edit.task)
    task = title if title == edit.task else f"{title} ({edit.task})"
    return [
        ("Runs as", f"{task}, and was {was}" if was and was != edit.task else task),
        ("On the queue", edit.queue or "where it goes by itself"),
    ]


def _badge(change: Change) -> SafeString:
    return markup.badge(*_KINDS[change.kind])


def _text(value: Any) -> str | None:
    """None where there is no such field. Text stands without its quotes, unless it would read like something else."""
    if value is ABSENT:
        return None
    if isinstance(value, str) and value.strip() == value and value and not _reads_as_json(value):
        return words.shortened(value)
    return words.pretty(value)


def _reads_as_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
