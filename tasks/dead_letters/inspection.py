"""All that is known of a dead letter, in one piece: what an operator reads before deciding, and may copy as JSON."""

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django_celery_results.models import TaskResult

from tasks import audit, words
from tasks.dead_letters import editing
from tasks.dead_letters.masking import MASK, Mask, mask_of
from tasks.models import DeadLetter, FailureGroup, JobEvent, LetterEdit, OperationItem

MAX_ATTEMPTS = 100
MAX_EVENTS = 500
MAX_DUMPED_BYTES = 65_536


@dataclass(frozen=True)
class Attempt:
    """One run of the letter's job. ``seconds`` is None where nobody saw it begin."""

    number: int
    status: str
    """As django-celery-results has it: SUCCESS, RETRY, FAILURE, REVOKED, IGNORED."""
    worker: str
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    error_type: str
    error: str
    traceback: str


@dataclass(frozen=True)
class Moment:
    """One line of the timeline. ``kind`` is event, attempt, letter, edit, operation or replay."""

    at: datetime
    kind: str
    text: str
    by: str = ""
    attempt: int | None = None


@dataclass(frozen=True)
class Body:
    """The message as the broker had it: its first MAX_DUMPED_BYTES, as text and as a hex dump. ``is_hidden`` where
    bytes that nobody can read could hold what is masked elsewhere."""

    size_bytes: int
    is_hidden: bool = False
    is_cut: bool = False
    text: str = ""
    """Bytes that are no UTF-8 stand as \\xNN."""
    hex: str = ""
    base64: str = ""
    """All of it."""


@dataclass(frozen=True)
class Inspection:
    """A letter as one reader may see it. ``is_masked`` says whether something was hidden from this one."""

    id: UUID
    job_id: UUID | None
    attempt: int
    state: str
    reason: str
    cause: str
    """Like "rejected by email-queue after 3 attempts in 12 minutes"."""
    task: str
    queue: str
    release: str
    group: FailureGroup | None
    died_at: datetime
    error_type: str
    error: str
    traceback: str
    payload: Any
    exchange: str
    routing_key: str
    headers: dict[str, Any]
    properties: dict[str, Any]
    deaths: list[str]
    """The broker's x-death, newest first, one sentence each."""
    evidence: dict[str, Any]
    body: Body | None
    attempts: list[Attempt]
    """Newest first."""
    timeline: list[Moment] = field(default_factory=list)
    """The life of the job, or of the message without one; oldest first."""
    is_masked: bool = False
    replayed_at: datetime | None = None
    replayed_by: str = ""
    discarded_at: datetime | None = None
    discarded_by: str = ""
    delete_at: datetime | None = None
    """Until when a discarded letter can be restored."""

    def document(self) -> dict[str, Any]:
        """All of it as plain JSON values, to copy."""
        found = {name: value for name, value in vars(self).items() if name != "group"}
        group = self.group and {
            "id": self.group.pk,
            "message": self.group.message,
            "frame": self.group.frame,
            "owner": self.group.owner,
            "runbook_url": self.group.runbook_url,
        }
        for name in ("attempts", "timeline"):
            found[name] = [asdict(each) for each in found[name]]
        found["body"] = asdict(self.body) if self.body else None
        return json.loads(json.dumps({**found, "group": group}, default=_plain))


def inspect(letter_id: UUID) -> Inspection:
    """The letter with what is sensitive masked. Raises DeadLetter.DoesNotExist."""
    return _Inspector(_letter(letter_id), masks=True).look()


def unmask(letter_id: UUID, *, requested_by: str, reason: str = "") -> Inspection:
    """The letter with nothing hidden, for who may see it; that they did is audited. Raises DeadLetter.DoesNotExist."""
    with transaction.atomic():
        letter = _letter(letter_id)
        audit.record(requested_by, "dead_letters.unmask", letter_id, reason=reason)
        return _Inspector(letter, masks=False).look()


def error_line(letter: DeadLetter, mask: Mask | None = None) -> str:
    """Type and first line of the letter's error for lists, without what its payload and its headers hide, and what
    ``mask`` hid already."""
    mask = mask or Mask()
    mask.payload(letter.task, letter.payload)
    mask.named(letter.headers)
    return words.error_line(letter.error_type, mask.text(letter.error))


def cause_of_death(letter: DeadLetter, attempts: list[Attempt]) -> str:
    """What happened, in one sentence: who gave up, after how many attempts, in what time. ``attempts``: those of the
    job up to this death, since its latest replay, newest first; none where it never ran."""
    deaths = (letter.properties or {}).get("deaths") or []
    newest: dict[str, Any] = deaths[0] if deaths and isinstance(deaths[0], dict) else {}
    queue = str(newest.get("queue") or letter.queue)
    match newest.get("reason"):
        case "delivery_limit":
            return f"given up by {queue}, which had delivered it too often"
        case "expired":
            return f"expired in {queue} before a worker took it"
        case "maxlen":
            return f"pushed out of {queue}, which was full"
        case "rejected":
            who = f"rejected by {queue}"
        case _:
            who = f"died on {queue}" if letter.job_id else f"found on {queue}"
    if not attempts:
        return f"{who} before it began" if letter.job_id else f"{who}: {letter.get_reason_display().lower()}"
    begun = min((attempt.started_at for attempt in attempts if attempt.started_at), default=None)
    span = f" in {spelled((letter.died_at - begun).total_seconds())}" if begun else ""
    return f"{who} after {_many(len(attempts), 'attempt')}{span}"


def spelled(seconds: float) -> str:
    """`12 minutes`: one unit, rounded, for sentences."""
    if seconds < 1:
        return "less than a second"
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size or (size == 60 and seconds >= 59.5):
            return _many(round(seconds / size), unit)
    return _many(round(seconds), "second")


def dump(raw: bytes, *, limit: int = MAX_DUMPED_BYTES) -> Body:
    """``raw`` as whatever can be shown of it."""
    shown = raw[:limit]
    return Body(
        size_bytes=len(raw),
        is_cut=len(raw) > limit,
        text=shown.decode("utf-8", "backslashreplace"),
        hex=words.hexdump(shown),
        base64=base64.b64encode(raw).decode(),
    )


class _Inspector:
    """Reads what belongs to one letter. The payload goes first: what it hides is hidden in the texts after it."""

    def __init__(self, letter: DeadLetter, *, masks: bool) -> None:
        self._letter = letter
        self._mask = Mask() if letter.job is None else mask_of(letter.job)
        self._masks = masks

    def look(self) -> Inspection:
        letter = self._letter
        payload = self._payload(letter.task, letter.payload)
        body = self._body()
        edits = list(letter.edits.order_by("id"))
        for edit in edits:
            self._payload(edit.task, edit.payload)  # an event may quote what only an edit held
        headers = self._anywhere(letter.headers)
        attempts = list(self._attempts())
        timeline = sorted(self._timeline(attempts, edits), key=lambda moment: moment.at)
        return Inspection(
            id=letter.pk,
            job_id=letter.job_id,
            attempt=letter.attempt,
            state=letter.state,
            reason=letter.reason,
            cause=cause_of_death(letter, self._of_this_death(attempts)),
            task=letter.task,
            queue=letter.queue,
            release=letter.release,
            group=letter.group,
            died_at=letter.died_at,
            error_type=letter.error_type,
            error=self._text(letter.error),
            traceback=self._text(letter.traceback),
            payload=payload,
            exchange=letter.exchange,
            routing_key=letter.routing_key,
            headers=self._without_arguments(headers),
            properties=self._anywhere(letter.properties),
            deaths=words.deaths(letter),
            evidence=self._anywhere(letter.evidence),
            body=body,
            attempts=attempts,
            timeline=timeline,
            is_masked=self._masks and (self._mask.hides or bool(body and body.is_hidden)),
            replayed_at=letter.replayed_at,
            replayed_by=letter.replayed_by,
            discarded_at=letter.discarded_at,
            discarded_by=letter.discarded_by,
            delete_at=letter.delete_at,
        )

    def _payload(self, task: str, payload: Any) -> Any:
        return self._mask.payload(task, payload) if self._masks else payload

    def _anywhere(self, value: Any) -> Any:
        return self._mask.anywhere(value) if self._masks else value

    def _without_arguments(self, headers: dict[str, Any]) -> dict[str, Any]:
        """Celery's own headers quote the arguments, shortened: what is hidden could stand there in part."""
        if not (self._masks and self._mask.hides):
            return headers
        return {name: MASK if name in ("argsrepr", "kwargsrepr") else value for name, value in headers.items()}

    def _text(self, text: str) -> str:
        return self._mask.text(text) if self._masks else text

    def _body(self) -> Body | None:
        if self._letter.body is None:
            return None
        raw = bytes(self._letter.body)
        if not self._masks:
            return dump(raw)
        try:
            content = json.loads(raw)
        except (ValueError, RecursionError):
            return Body(size_bytes=len(raw), is_hidden=True, text=MASK)
        is_envelope = self._letter.job_id is None and isinstance(content, dict)
        shown = (
            editing.shown(self._letter, mask=self._mask.payload)
            if is_envelope
            else self._payload(self._letter.task, content)
        )
        # byte for byte where nothing was hidden: its blanks may be what is wrong with it
        return dump(raw) if shown == content else dump(json.dumps(shown, ensure_ascii=False).encode())

    def _attempts(self) -> Iterator[Attempt]:
        job = self._letter.job
        if job is None:
            return
        numbers = range(job.attempt, max(0, job.attempt - MAX_ATTEMPTS), -1)
        found = {row.task_id: row for row in TaskResult.objects.filter(task_id__in=[f"{job.pk}.{n}" for n in numbers])}
        for number in numbers:
            if row := found.get(f"{job.pk}.{number}"):
                yield self._attempt(number, row)

    def _attempt(self, number: int, row: TaskResult) -> Attempt:
        told = _json(row.result)
        failed = told if isinstance(told, dict) and "exc_type" in told else {}
        begun, ended = row.date_started, row.date_done
        return Attempt(
            number=number,
            status=row.status,
            worker=row.worker or "",
            started_at=begun,
            ended_at=ended,
            seconds=(ended - begun).total_seconds() if begun and ended and ended >= begun else None,
            error_type=str(failed.get("exc_type") or ""),
            error=self._text(str(failed.get("exc_message") or "")),
            traceback=self._text(row.traceback or ""),
        )

    def _of_this_death(self, attempts: list[Attempt]) -> list[Attempt]:
        """Without those before the replay that this death came after, and those since."""
        letter = self._letter
        if letter.job is None:
            return []
        replayed = letter.job.events.filter(kind=JobEvent.Kind.REPLAYED, attempt__lt=letter.attempt)
        since = replayed.order_by("-attempt").values_list("attempt", flat=True).first() or 0
        return [attempt for attempt in attempts if since < attempt.number <= letter.attempt]

    def _timeline(self, attempts: list[Attempt], edits: list[LetterEdit]) -> Iterator[Moment]:
        letter, job = self._letter, self._letter.job
        for attempt in attempts:
            if attempt.ended_at:
                yield Moment(attempt.ended_at, "attempt", _ended(attempt), attempt=attempt.number)
        if job is not None:
            for event in job.events.order_by("-id")[:MAX_EVENTS]:
                kind = "replay" if event.kind == JobEvent.Kind.REPLAYED else "event"
                by = str((event.detail or {}).get("requested_by") or "")
                told = ": ".join(filter(None, [event.get_kind_display(), self._text(words.event(event))]))
                yield Moment(event.at, kind, told, by=by, attempt=event.attempt)
        siblings = job.dead_letters.only(*_TOLD_BY_SIBLINGS) if job is not None else [letter]
        for each in siblings:
            yield from _moments_of(each)
        for edit in edits:
            yield Moment(edit.edited_at, "edit", f"Edited: {self._text(edit.reason)}".rstrip(": "), by=edit.edited_by)
            if edit.decided_at and edit.decided_by:
                yield Moment(edit.decided_at, "edit", f"Edit {edit.get_state_display().lower()}", by=edit.decided_by)
        items = OperationItem.objects.filter(letter__in=[each.pk for each in siblings]).select_related("operation")
        for item in items.order_by("id")[:MAX_EVENTS]:
            text = f"{item.operation}, number {item.place + 1}: {item.get_state_display().lower()}"
            if item.why:
                text += f"; {self._text(item.why)}"
            yield Moment(item.operation.created_at, "operation", text, by=item.operation.requested_by)


_TOLD_BY_SIBLINGS = (
    "reason", "attempt", "job_id", "died_at", "collected_at", "replayed_at", "replayed_by", "discarded_at",
    "discarded_by",
)  # fmt: skip


def _moments_of(letter: DeadLetter) -> Iterator[Moment]:
    """A replay of a letter's job is told by the job's event; that of a message has no other place."""
    about = f"Dead letter {str(letter.pk)[-4:]}"
    yield Moment(letter.died_at, "letter", f"{about}: {letter.get_reason_display()}", attempt=letter.attempt)
    if letter.collected_at:
        yield Moment(letter.collected_at, "letter", f"{about}: its message was collected from the broker")
    if letter.replayed_at and letter.job_id is None:
        yield Moment(letter.replayed_at, "replay", f"{about}: sent again", by=letter.replayed_by)
    if letter.discarded_at:
        yield Moment(letter.discarded_at, "letter", f"{about}: discarded", by=letter.discarded_by)


def _ended(attempt: Attempt) -> str:
    how = "succeeded" if attempt.status == "SUCCESS" else "was cancelled" if attempt.status == "REVOKED" else "failed"
    where = f" on {attempt.worker}" if attempt.worker else ""
    took = f" after {words.duration(attempt.seconds)}" if attempt.seconds is not None else ""
    error = words.error_line(attempt.error_type, attempt.error)
    return f"Attempt {attempt.number} {how}{where}{took}" + (f": {error}" if error else "")


def _letter(letter_id: UUID) -> DeadLetter:
    return DeadLetter.objects.select_related("job", "group").get(pk=letter_id)


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return None


def _many(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
