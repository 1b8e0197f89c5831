"""A letter is changed before it is tried again, by one person or, with EDIT_APPROVAL, by two.

The letter keeps what was there. An edit is a row beside it: the new payload of its job or, for a message without a job,
the repaired envelope, from which a new job is made.
"""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from tasks import audit
from tasks.dead_letters import message_text, redirects, replaying
from tasks.dead_letters.diffing import Change, Mask, Path, at, changes
from tasks.dead_letters.filling import filled
from tasks.dead_letters.masking import MASK
from tasks.dead_letters.masking import Mask as Masking
from tasks.dispatch import store, text_problems
from tasks.errors import IdempotencyConflict, IllegalTransition, InvalidJob, OwnEdit
from tasks.models import DeadLetter, Job, LetterEdit
from tasks.payloads import dump_payload
from tasks.registry import registry
from tasks.states import JobState

MAX_REASON = 500

State = LetterEdit.State


def propose(
    letter_id: UUID,
    payload: dict[str, Any],
    *,
    edited_by: str,
    task: str = "",
    queue: str = "",
    reason: str,
) -> LetterEdit:
    """The edit of a dead job's payload: applied, so the job is queued again with it, or waiting for approval.

    ``task`` and ``queue`` replay it as another task or elsewhere; where they say nothing, standing redirects do. Where
    ``payload`` has a mask that ``shown`` would show, the value behind it is kept.

    Raises DeadLetter.DoesNotExist; InvalidJob with all that is wrong; and IllegalTransition when the
    letter is not open, has no job, or has an edit that waits. Nothing is stored then.
    """
    with transaction.atomic():
        edit = draft(letter_id, payload, edited_by=edited_by, task=task, queue=queue, reason=reason)
        if edit.letter.payload is None:  # it died before letters kept their payload
            edit.letter.payload = original_of(edit.letter)
            edit.letter.save(update_fields=["payload"])
        return _keep(edit)


def draft(letter_id: UUID, payload: Any, *, edited_by: str, task: str = "", queue: str = "", reason: str) -> LetterEdit:
    """What ``propose`` would store and do, to be looked at first; it is not saved. Raises what that raises."""
    with transaction.atomic():
        letter = replaying.held(letter_id)
        if letter.job is None:
            raise IllegalTransition("the dead letter is a message without a job; repair its text")
        if letter.job.state != JobState.DEAD:
            raise IllegalTransition(f"the job is {letter.job.state}; only a dead job's payload can be edited")
        _check_none_waits(letter)
        problems = _problems_of(edited_by, reason) + redirects.problems_of_target(task, queue)
        if task and task not in registry:
            raise InvalidJob(problems)
        to = redirects.of_job(letter.job, to_task=task)
        payload = _unmasked(problems, letter, payload, to.task)
        content = _checked(problems, to.task, payload)
    return LetterEdit(
        letter=letter, task=to.task, queue=queue, payload=content, edited_by=edited_by, reason=reason.strip()
    )


def repair(letter_id: UUID, text: str, *, edited_by: str, task: str = "", queue: str = "", reason: str) -> LetterEdit:
    """The repair of a message that no job could be made of: one is made now, or once it is approved.

    ``text`` is a JSON object in the words of message_text.py; its ``id`` is the new job's idempotency key. ``task``
    counts more than what the text names, ``queue`` more than the task's own. ``shown_text`` gives the text to begin
    with; where a mask that it shows is left, the value behind it is kept.

    Raises DeadLetter.DoesNotExist; InvalidJob with all that is wrong; IdempotencyConflict when the ``id`` stands for
    another job; and IllegalTransition when the letter is not open, has a job, or has an edit that waits. Nothing is
    stored then.
    """
    with transaction.atomic():
        return _keep(draft_repair(letter_id, text, edited_by=edited_by, task=task, queue=queue, reason=reason))


def draft_repair(
    letter_id: UUID, text: str, *, edited_by: str, task: str = "", queue: str = "", reason: str
) -> LetterEdit:
    """What ``repair`` would store and do, to be looked at first; it is not saved. Raises what that raises."""
    with transaction.atomic():
        letter = replaying.held(letter_id)
        if letter.job is not None:
            raise IllegalTransition("the dead letter has a job; edit its payload")
        _check_none_waits(letter)
        problems = _problems_of(edited_by, reason) + redirects.problems_of_target(task, queue)
        try:
            envelope = message_text.parsed(text)
        except InvalidJob as error:
            raise InvalidJob(problems + error.problems) from None
        if task and task not in registry:
            raise InvalidJob(problems)
        try:
            name = registry.get(task).name if task else message_text.task_of(envelope)
        except InvalidJob as error:
            raise InvalidJob(problems + error.problems) from None
        envelope = _unmasked(problems, letter, envelope, name)
        try:
            message_text.job_of(envelope, name)
        except InvalidJob as error:
            problems += error.problems
        if problems:
            raise InvalidJob(problems)
    return LetterEdit(
        letter=letter, task=name, queue=queue, payload=envelope, edited_by=edited_by, reason=reason.strip()
    )


def shown(letter: DeadLetter, *, mask: Mask | None) -> Any:
    """``original_of`` as an editor sees it who may not unmask; with None, as it is. Text that has no fields can not be
    masked, and is hidden as a whole."""
    original = original_of(letter)
    if mask is None:
        return original
    if not isinstance(original, dict):
        return MASK
    seen = original
    for task in dict.fromkeys((letter.task, _asked_for(letter, original))):
        seen = _hidden(seen, task, letter, mask)
    return seen


def shown_text(letter: DeadLetter, *, mask: Mask | None) -> str:
    """``text_of`` as an editor sees it: byte for byte where nothing is hidden, and empty where all of it is."""
    seen = shown(letter, mask=mask)
    if mask is None or seen == original_of(letter):
        return text_of(letter)
    return json.dumps(seen, ensure_ascii=False, indent=2) if isinstance(seen, dict) else ""


def text_of(letter: DeadLetter) -> str:
    """The message as text, for ``repair``; empty when the letter holds none."""
    return message_text.shown(bytes(letter.body)) if letter.body is not None else ""


def payload_of(edit: LetterEdit) -> dict[str, Any]:
    """What the task of the edit gets: all of it, or what a repaired message gives as its payload."""
    found: dict[str, Any] = edit.payload
    return found if edit.letter.job_id is not None else message_text.payload_of(found)[1]


def unmasked(letter: DeadLetter, payload: dict[str, Any], *, task: str) -> dict[str, Any]:
    """A payload for ``task`` that was edited as ``shown``, with the values behind its masks, as an edit keeps them.

    Of a message, the payload alone. Raises InvalidJob naming the masks that stand for nothing, or whose values ``task``
    would not mask.
    """
    problems: list[dict[str, str]] = []
    if letter.job_id is not None:
        value = _unmasked(problems, letter, payload, task)
    else:
        original = original_of(letter)
        word = message_text.payload_of(original)[0] if isinstance(original, dict) else "data"
        value = _unmasked(problems, letter, {word: payload}, task)[word]
    if problems:
        raise InvalidJob(problems)
    found: dict[str, Any] = value
    return found


def approve(edit_id: UUID, *, approved_by: str) -> LetterEdit:
    """The edit, applied by a second person.

    Raises LetterEdit.DoesNotExist; OwnEdit when that person is the editor; IllegalTransition when the edit was decided
    already, or the letter was replayed or discarded meanwhile; InvalidJob when today's tasks do not take it any more.
    It waits on then.
    """
    with transaction.atomic():
        edit = LetterEdit.objects.get(pk=edit_id)
        _check_person("approved_by", approved_by)
        if is_same_person(edit.edited_by, approved_by):
            raise OwnEdit(f"{edit.edited_by} made this edit; a second person approves it")
        letter = replaying.held(edit.letter_id)
        edit = _decide(edit_id, State.APPLIED, approved_by)
        _apply(edit, letter, approved_by=approved_by)
        said = {"edit": edit.pk, "edited_by": edit.edited_by}
        audit.record(approved_by, "dead_letters.approve", letter.pk, detail=said)
    return edit


def reject(edit_id: UUID, *, rejected_by: str, reason: str = "") -> LetterEdit:
    """The edit, refused for good; the letter stays as it is. An editor may take the own edit back in this way.

    Raises LetterEdit.DoesNotExist, and IllegalTransition when the edit was decided already.
    """
    with transaction.atomic():
        _check_person("rejected_by", rejected_by)
        edit = _decide(edit_id, State.REJECTED, rejected_by)
        said = {"edit": edit.pk, "edited_by": edit.edited_by}
        audit.record(rejected_by, "dead_letters.reject", edit.letter_id, reason=reason, detail=said)
    return edit


def diff(edit: LetterEdit, *, mask: Mask | None) -> list[Change]:
    """The fields that the edit changed. ``mask`` hides what either task declares sensitive, and leaves visible that it
    changed; None shows everything, to those who may see it.

    What was no JSON object before is one change of the whole.
    """
    letter = edit.letter
    before, after = original_of(letter), edit.payload
    found = list(changes(before, after))
    if mask is None:
        return found
    hidden_before, hidden_after = before, after
    for task in dict.fromkeys((letter.task, edit.task)):
        hidden_before, hidden_after = (_hidden(side, task, letter, mask) for side in (hidden_before, hidden_after))
    if not isinstance(before, dict):
        hidden_before = f"({len(before)} characters that have no fields)"
    return [Change(change.path, at(hidden_before, change.path), at(hidden_after, change.path)) for change in found]


def original_of(letter: DeadLetter) -> Any:
    """What an edit begins from: the payload that died, or the message as a JSON object, or as text where it is none."""
    if letter.job_id is not None:
        return letter.payload if letter.payload is not None else letter.job.payload  # type: ignore[union-attr]
    text = text_of(letter)
    try:
        return message_text.parsed(text)
    except InvalidJob:
        return text


def is_same_person(one: str, other: str) -> bool:
    """Names that differ in case or outer blanks alone are taken for one, and so are a person and the account of that
    name: better to ask a third than to miss it."""
    first, second = (name.strip().casefold().removeprefix("command:") for name in (one, other))
    return first == second


def _keep(edit: LetterEdit) -> LetterEdit:
    """Store it, and apply it unless it has to wait."""
    letter, waits = edit.letter, settings.TASKS_EDIT_APPROVAL
    try:
        with transaction.atomic():
            edit.save(force_insert=True)
    except IntegrityError:
        _check_none_waits(letter)
        raise
    if not waits:
        edit = _decide(edit.pk, State.APPLIED, "")
        _apply(edit, letter, approved_by="")
    fields = [change.field for change in changes(original_of(letter), edit.payload)][:50]
    said = {"edit": edit.pk, "task": edit.task, "queue": edit.queue, "fields": fields, "waits": waits}
    audit.record(edit.edited_by, "dead_letters.edit", letter.pk, reason=edit.reason, detail=said)
    edit.refresh_from_db()
    return edit


def _check_none_waits(letter: DeadLetter) -> None:
    waiting = LetterEdit.objects.filter(letter=letter, state=State.PROPOSED).first()
    if waiting is not None:
        raise IllegalTransition(
            f"an edit by {waiting.edited_by} waits for approval already; have it approved or rejected first"
        )


def _decide(edit_id: UUID, state: str, by: str) -> LetterEdit:
    """Compare-and-set: an edit is decided once."""
    decided = LetterEdit.objects.filter(pk=edit_id, state=State.PROPOSED).update(
        state=state, decided_by=by, decided_at=timezone.now()
    )
    edit = LetterEdit.objects.get(pk=edit_id)
    if not decided:
        raise IllegalTransition(f"the edit was {edit.state} by {edit.decided_by or edit.edited_by} already")
    return edit


def _apply(edit: LetterEdit, letter: DeadLetter, *, approved_by: str) -> None:
    said = {"edit": str(edit.pk), **({"approved_by": approved_by} if approved_by else {})}
    if letter.job is not None:
        edit.job = replaying.requeue(
            letter.job,
            requested_by=edit.edited_by,
            task=edit.task,
            queue=edit.queue,
            payload=edit.payload,
            **said,
        )
    else:
        edit.job = _resubmit(edit, letter, said)
        replaying.mark_replayed(letter, edit.edited_by)
    edit.save(update_fields=["job"])


def _resubmit(edit: LetterEdit, letter: DeadLetter, said: dict[str, str]) -> Job:
    """A job made of the repaired message; or the one that its id stands for already, if that says the same."""
    said = {"dead_letter": str(letter.pk), **said}
    new = message_text.job_of(edit.payload, edit.task, requested_by=edit.edited_by, metadata=said)
    to = redirects.destination(new.task, new.queue, priority=new.priority, to_task=edit.task, to_queue=edit.queue)
    (job,) = store([replace(new, queue=to.queue)])
    if isinstance(job, IdempotencyConflict):
        raise job
    return job


def _unmasked(problems: list[dict[str, str]], letter: DeadLetter, typed: Any, task: str) -> Any:
    """``typed`` with what its masks stand for; those that stand for nothing are added to ``problems``, and those whose
    value ``task`` would show to whoever may see its jobs."""
    mask = Masking()
    found = filled(typed, shown=shown(letter, mask=mask.payload), original=original_of(letter))
    told: list[tuple[Path, str]] = [
        (path, "holds a mask that stands for nothing here; write the value itself") for path in found.unclear
    ]
    if found.kept:
        as_seen = _hidden(found.value, task, letter, mask.payload)
        told += [
            (path, f"is masked, and {task} would not mask it; write the value itself")
            for path in found.kept
            if at(as_seen, path) != MASK
        ]
    prefix = ("payload",) if letter.job_id is not None else ()
    problems += [{"field": ".".join(map(str, (*prefix, *path))), "message": message} for path, message in told]
    return found.value


def _checked(problems: list[dict[str, str]], task: str, payload: Any) -> dict[str, Any]:
    """``payload`` as the task stores it. Raises InvalidJob with what is wrong with it beside ``problems``."""
    try:
        checked: dict[str, Any] = json.loads(dump_payload(registry.get(task), payload))
    except InvalidJob as error:
        if not problems:
            raise
        raise InvalidJob(problems + error.problems) from None
    if problems:
        raise InvalidJob(problems)
    return checked


def _problems_of(edited_by: str, reason: str) -> list[dict[str, str]]:
    problems = text_problems(edited_by=edited_by)
    if not edited_by.strip():
        problems.append({"field": "edited_by", "message": "name who edits"})
    if not reason.strip():
        problems.append({"field": "reason", "message": "say why the letter is changed"})
    if len(reason.strip()) > MAX_REASON:
        problems.append({"field": "reason", "message": f"has {len(reason)} characters and may have {MAX_REASON}"})
    return problems


def _check_person(field: str, name: str) -> None:
    problems = text_problems(**{field: name})
    if not name.strip():
        problems.append({"field": field, "message": "name who decides"})
    if problems:
        raise InvalidJob(problems)


def _asked_for(letter: DeadLetter, original: dict[str, Any]) -> str:
    """The task that a message names: its letter may not, having died before anybody read it."""
    if letter.job_id is not None:
        return letter.task
    try:
        return message_text.task_of(original)
    except InvalidJob:
        return letter.task


def _hidden(value: Any, task: str, letter: DeadLetter, mask: Mask) -> Any:
    """A payload masked, or an envelope whose payload is."""
    if letter.job_id is not None or not isinstance(value, dict):
        return mask(task, value)
    named = mask("", value)  # what is called sensitive, whatever it is a word of
    words = message_text.PAYLOAD_WORDS
    return {word: mask(task, named[word]) if word in words else named[word] for word in value}
