"""Reading a message: which attempt of which job does it ask for, and if none, what is wrong with it.

The consumer asks before it claims; the collector asks again to say why a message was refused. One answer for both.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tasks.models import DeadLetter
from tasks.registry import registry

Reason = DeadLetter.Reason


@dataclass(frozen=True)
class Envelope:
    """Attempt ``attempt`` of job ``job_id``, which runs ``task``."""

    job_id: UUID
    attempt: int
    task: str
    redelivered: bool = False
    """Whether the broker has handed this message out before."""

    @property
    def attempt_id(self) -> str:
        """Celery's id of the attempt."""
        return f"{self.job_id}.{self.attempt}"


class WrongMessage(Exception):
    """A message that no job can be made of. ``reason`` is a DeadLetter.Reason, the text says what is wrong."""

    def __init__(self, reason: str, text: str):
        self.reason = reason
        super().__init__(text)


def read_envelope(
    headers: Mapping[str, Any] | None,
    body: bytes | str | memoryview,
    content_type: str | None,
    *,
    redelivered: bool = False,
) -> Envelope:
    """Raises WrongMessage. An unknown task is told last, so its message is otherwise in order."""
    headers = headers or {}
    if "task" not in headers and "id" not in headers:
        raise WrongMessage(Reason.UNKNOWN_MESSAGE, "carries no task and id headers: not a job message of this platform")
    if content_type != "application/json":
        raise WrongMessage(Reason.UNDECODABLE, f"content type is {content_type!r}, accepted is application/json")
    try:
        content = json.loads(bytes(body) if not isinstance(body, str) else body)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise WrongMessage(Reason.UNDECODABLE, f"body is not JSON: {error}") from None
    task, id = headers.get("task"), headers.get("id")
    job_id, attempt = _read_id(id)
    if not isinstance(task, str):
        raise WrongMessage(Reason.UNKNOWN_MESSAGE, "task header is not text")
    if not isinstance(content, list) or len(content) != 3 or any(content[:2]):
        raise WrongMessage(
            Reason.UNKNOWN_MESSAGE, "body carries arguments; a job message is ids only, enqueue through tasks.api"
        )
    if task not in registry:
        raise WrongMessage(Reason.UNKNOWN_TASK, f"no task {task!r} is registered in this build")
    return Envelope(job_id, attempt, task, redelivered)


def job_and_attempt_of(headers: Mapping[str, Any] | None) -> tuple[UUID, int] | None:
    """What a message names, however broken the rest of it is."""
    try:
        return _read_id((headers or {}).get("id"))
    except WrongMessage:
        return None


def _read_id(id: Any) -> tuple[UUID, int]:
    try:
        job, attempt = str(id).rsplit(".", 1)
        if not (attempt.isdecimal() and 1 <= int(attempt) < 2**31):
            raise ValueError("no attempt number")
        return UUID(job), int(attempt)
    except ValueError:
        raise WrongMessage(Reason.UNKNOWN_MESSAGE, f"id is {str(id)[:80]!r}, expected '<job id>.<attempt>'") from None
