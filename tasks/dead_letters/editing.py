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
from tasks.dead_letters.diffing import Change, Mask, at, changes
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

    ``task`` and ``queue`` replay it as another task or elsewhere; where they say nothing, standing redirects do.

    Raises DeadLetter.DoesNotExist; InvalidJob with all that is wrong; and IllegalTransition when the
    letter is not open, has no job, or has an edit that waits. Nothing is stored then.
    """
    with transaction.atomic():
        letter = replaying.held(letter_id)
        if letter.job is None:
            raise IllegalTransition("the dead letter is a message without a job; repair its text")
        if letter.job.state != JobState.DEAD:
            raise IllegalTransition(f"the job is {letter.job.state}; only a dead job's payload can be edited")
        problems = _problems_of(edited_by, reason) + redirects.problems_of_target(task, queue)
        if task and task not in registry:
            raise InvalidJob(problems)
        to = redirects.of_job(letter.job, to_task=task)
        content = _checked(problems, to.task, payload)
        if letter.payload is None:  # it died before letters kept their payload
            letter.payload = letter.job.payload
            letter.save(update_fields=["payload"])
        edit = LetterEdit(letter=letter, task=to.task, queue=queue, payload=content, edited_by=edited_by)
        return _keep(edit, letter, reason)


def repair(letter_id: UUID, text: str, *, edited_by: str, task: str = "", queue: str = "", reason: str) -> LetterEdit:
    """The repair of a message that no job could be made of: one is made now, or once it is approved.

    ``text`` is a JSON object in the words of message_text.py; its ``id`` is the new job's idempotency key. ``task``
    counts more than what the text names, ``queue`` more than the task's own. ``text_of`` gives the text to begin with.

    Raises DeadLetter.DoesNotExist; InvalidJob with all that is wrong; IdempotencyConflict when the ``id`` stands for
    another job; and IllegalTransition when the letter is not open, has a job, or has an edit that waits. Nothing is
    stored then.
    """
    with transaction.atomic():
        letter = replaying.held(letter_id)
        if letter.job is not None:
            raise IllegalTransition("the dead letter has a job; edit its payload")
        problems = _problems_of(edited_by, reason) + redirects.problems_of_target(task, queue)
        envelope = message_text.parsed(text)
        if task and task not in registry:
            raise InvalidJob(problems)
        name = registry.get(task).name if task else message_text.task_of(envelope)
        try:
            message_text.job_of(envelope, name)
        except InvalidJob as error:
            problems += error.problems
        if problems:
            raise InvalidJob(problems)
        edit = LetterEdit(letter=letter, task=name, queue=queue, payload=envelope, edited_by=edited_by)
        return _keep(edit, letter, reason)


def text_of(letter: DeadLetter) -> str:
    """The message as text, for ``repair``; empty when the letter holds none."""
    return message_text.shown(bytes(letter.body)) if letter.body is not None else ""


def approve(edit_id: UUID, *, approved_by: str) -> LetterEdit:
    """The edit, applied by a second person.

    Raises LetterEdit.DoesNotExist; OwnEdit when that person is the editor; IllegalTransition when the edit was decided
    already, or the letter was replayed or discarded meanwhile; InvalidJob when today's tasks do not take it any more.
    It waits on then.
    """
    with transaction.atomic():
        edit = LetterEdit.objects.get(pk=edit_id)
        _check_person("approved_by", approved_by)
        if _same_person(edit.edited_by, approved_by):
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


def _keep(edit: LetterEdit, letter: DeadLetter, reason: str) -> LetterEdit:
    """Store it, and apply it unless it has to wait."""
    waits = settings.TASKS_EDIT_APPROVAL
    edit.reason = reason.strip()
    try:
        with transaction.atomic():
            edit.save(force_insert=True)
    except IntegrityError as error:
        waiting = LetterEdit.objects.filter(letter=letter, state=State.PROPOSED).first()
        if waiting is None:
            raise
        raise IllegalTransition(
            f"an edit by {waiting.edited_by} waits for approval already; have it approved or rejected first"
        ) from error
    if not waits:
        edit = _decide(edit.pk, State.APPLIED, "")
        _apply(edit, letter, approved_by="")
    fields = [change.field for change in changes(original_of(letter), edit.payload)][:50]
    said = {"edit": edit.pk, "task": edit.task, "queue": edit.queue, "fields": fields, "waits": waits}
    audit.record(edit.edited_by, "dead_letters.edit", letter.pk, reason=edit.reason, detail=said)
    edit.refresh_from_db()
    return edit


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


def _same_person(one: str, other: str) -> bool:
    """Names that differ in case or outer blanks alone are taken for one: better to ask a third than to miss it."""
    return one.strip().casefold() == other.strip().casefold()


def _hidden(value: Any, task: str, letter: DeadLetter, mask: Mask) -> Any:
    """A payload masked, or an envelope whose payload is."""
    if letter.job_id is not None or not isinstance(value, dict):
        return mask(task, value)
    words = message_text.PAYLOAD_WORDS
    return {word: mask(task, item) if word in words else item for word, item in value.items()}
