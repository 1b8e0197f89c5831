"""A message as text, for a person to repair, and the repaired text as a job to enqueue.

The words are those of foreign producers: ``{"type": …, "data": {…}, "id"?, "correlationId"?, "priority"?}``.
"""

import codecs
import json
from typing import Any

from django.conf import settings

from tasks.dispatch import MAX_METADATA_BYTES, JobRequest, columns, text_problems
from tasks.errors import InvalidJob, UnknownTask
from tasks.insertion import NewJob
from tasks.payloads import dump_payload, plain_json
from tasks.registry import TaskSpec, registry
from tasks.states import Priority, as_priority

TASK_WORDS = ("type", "task")
PAYLOAD_WORDS = ("data", "payload")
TOLERATED = ("timestamp", "retryCount", "replyTo", "orderingKey")
"""Words of the envelope that a job made by hand has no use for. They are kept with the edit."""
WORDS = (*TASK_WORDS, *PAYLOAD_WORDS, "id", "correlationId", "priority", *TOLERATED)

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def shown(body: bytes) -> str:
    r"""The bytes as text: UTF-8, unless they begin with the mark of UTF-16. Bytes that are neither show as ``\xff``,
    which is no JSON, so that nobody sends them on unseen."""
    encoding = next((name for mark, name in _MARKS if body.startswith(mark)), "utf-8")
    return body.decode(encoding, "backslashreplace")


def parsed(text: str) -> dict[str, Any]:
    """The JSON object that ``text`` holds. Raises InvalidJob that says where it is wrong."""
    try:
        value = json.loads(text, object_pairs_hook=_without_repetition)
    except InvalidJob:
        raise
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidJob([{"field": "text", "message": f"is not JSON: {error.msg} ({where})"}]) from None
    except (ValueError, RecursionError) as error:
        raise InvalidJob([{"field": "text", "message": f"is not JSON: {error}"}]) from None
    if not isinstance(value, dict):
        message = 'is JSON and no object; write {"type": a task\'s name, "data": {its payload}}'
        raise InvalidJob([{"field": "text", "message": message}])
    return plain_json("text", value, settings.TASKS_MAX_PAYLOAD_BYTES + MAX_METADATA_BYTES)


def task_of(envelope: dict[str, Any]) -> str:
    """The registered task that it asks for: by name, or by the type that foreign producers call it.

    Raises InvalidJob, UnknownTask among them.
    """
    named = [(word, envelope[word]) for word in TASK_WORDS if word in envelope]
    if not named:
        raise InvalidJob([{"field": "type", "message": "is missing: name the task, like email.send"}])
    if len(named) == 2 and named[0][1] != named[1][1]:
        raise InvalidJob([{"field": "task", "message": "says something else than type; keep one of them"}])
    word, name = named[0]
    if not isinstance(name, str):
        raise InvalidJob([{"field": word, "message": "is not text"}])
    spec = registry.of_type(name)
    if spec is None:
        raise UnknownTask(name, [spec.name for spec in registry])
    return spec.name


def payload_of(envelope: dict[str, Any]) -> tuple[str, Any]:
    """The word it gives its payload by, and what it gives."""
    return next(((word, envelope[word]) for word in PAYLOAD_WORDS if word in envelope), ("data", {}))


def job_of(envelope: dict[str, Any], task: str, **options: Any) -> NewJob:
    """What is stored for it as a job of ``task``. ``options`` are further ones of a JobRequest.

    Raises InvalidJob with everything that is wrong.
    """
    spec = registry.get(task)
    problems = _problems_of(envelope)
    payload = _checked(problems, spec, envelope)
    request = JobRequest(
        task=task,
        priority=_priority(envelope) or Priority.NORMAL,
        idempotency_key=_text(envelope.get("id")) or None,
        correlation_id=_text(envelope.get("correlationId")),
        **options,
    )
    if problems:
        raise InvalidJob(problems)
    return NewJob(payload=payload, **columns(spec, request))


def _problems_of(envelope: dict[str, Any]) -> list[dict[str, str]]:
    problems = []
    for word in envelope:
        if word not in WORDS:
            message = f"is no word of an envelope, which are {', '.join(WORDS)}; move it into data, or leave it out"
            problems.append({"field": word, "message": message})
    if all(word in envelope for word in PAYLOAD_WORDS):
        problems.append({"field": "payload", "message": "stands beside data; keep one of them"})
    for word in ("id", "correlationId"):
        if not isinstance(envelope.get(word), (str, int, type(None))):
            problems.append({"field": word, "message": "is neither text nor a number"})
        problems += text_problems(**{word: _text(envelope.get(word))})
    if _priority(envelope) not in (None, *Priority.values):
        message = f"is one of {', '.join(Priority.values)}; got {envelope['priority']!r}"
        problems.append({"field": "priority", "message": message})
    return problems


def _priority(envelope: dict[str, Any]) -> Any:
    return as_priority(envelope.get("priority"))


def _checked(problems: list[dict[str, str]], spec: TaskSpec, envelope: dict[str, Any]) -> str:
    """The payload as JSON; what is wrong with it is added to ``problems``, by the word that the text uses."""
    word, payload = payload_of(envelope)
    if not isinstance(payload, dict):
        problems.append({"field": word, "message": "is an object: the payload of the task"})
        return ""
    try:
        return dump_payload(spec, payload)
    except InvalidJob as error:
        for problem in error.problems:
            rest = problem["field"].removeprefix("payload")
            problems.append({**problem, "field": f"{word}{rest}"})
        return ""


def _text(value: Any) -> str:
    return str(value) if isinstance(value, (str, int)) else ""


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that comes twice JSON would keep the last, without a word."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidJob([{"field": "text", "message": f"names {twice!r} twice in one object; keep one of them"}])
    return value
