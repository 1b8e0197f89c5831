"""manage.py dead_letters edit|repair: a letter is changed, and replayed with the change."""

import json
from abc import abstractmethod
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from tasks.dead_letters import documents, editing
from tasks.dead_letters.masking import Mask
from tasks.management.action import Action, Answer
from tasks.management.arguments import account, add_file, add_reason, read_file
from tasks.management.dead_letters.arguments import add_target, letter_id
from tasks.models import DeadLetter, LetterEdit


class _Change(Action):
    """Done under the account that runs it, and no other name: a second person may have to approve it."""

    what: str

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=letter_id)
        add_file(parser, self.what)
        add_target(parser)
        add_reason(parser, "why, which is needed")
        parser.add_argument("--dry-run", action="store_true", help="check it and show the difference, and do nothing")
        parser.add_argument(
            "--print", action="store_true", dest="begin", help="print what to begin with, masked, and do nothing"
        )

    def run(self, options: dict[str, Any]) -> Answer:
        if options["begin"]:
            return self.begin(DeadLetter.objects.select_related("job").get(pk=options["id"]))
        given = {"edited_by": account(), **{name: options[name] for name in ("task", "queue", "reason")}}
        edit = self.change(options["id"], read_file(options["file"]), given, is_draft=options["dry_run"])
        told = documents.of_edit(edit)
        if options["dry_run"]:
            not_yet = {"id": None, "state": "draft", "edited_at": None}
            return Answer({**told, **not_yet}, [*differences(told), "a dry run: nothing was changed"])
        return Answer(told, [*differences(told), _outcome(edit)])

    @abstractmethod
    def begin(self, letter: DeadLetter) -> Answer: ...

    @abstractmethod
    def change(self, id: UUID, text: str, given: dict[str, Any], *, is_draft: bool) -> LetterEdit: ...


class Edit(_Change):
    help = "replay a letter's job with another payload; a value left masked keeps what it was"
    what = "the whole new payload, as JSON"

    def begin(self, letter: DeadLetter) -> Answer:
        if letter.job_id is None:
            raise CommandError("the dead letter is a message without a job; `dead_letters repair` prints its text")
        payload = editing.shown(letter, mask=Mask().payload)
        return Answer(payload, [json.dumps(payload, indent=2, ensure_ascii=False)])

    def change(self, id: UUID, text: str, given: dict[str, Any], *, is_draft: bool) -> LetterEdit:
        try:
            payload = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CommandError(f"the payload is no JSON: {error}; give it in a file or on standard input") from None
        if not isinstance(payload, dict):
            raise CommandError("the payload is a JSON object, like the one that --print prints")
        return (editing.draft if is_draft else editing.propose)(id, payload, **given)


class Repair(_Change):
    help = "make a job of a message that could not be read, from its repaired text"
    what = 'the repaired envelope, like {"type": "email.send", "data": {…}}'

    def begin(self, letter: DeadLetter) -> Answer:
        if letter.job_id is not None:
            raise CommandError("the dead letter has a job; `dead_letters edit` prints its payload")
        text = editing.shown_text(letter, mask=Mask().payload)
        hidden = "its text can not be masked, and is hidden; `dead_letters show --unmask` shows it" if not text else ""
        return Answer({"text": text}, [text] if text else [], hidden)

    def change(self, id: UUID, text: str, given: dict[str, Any], *, is_draft: bool) -> LetterEdit:
        return (editing.draft_repair if is_draft else editing.repair)(id, text, **given)


def differences(told: documents.EditOut) -> Iterator[str]:
    """Field by field, what was and what is."""
    if not told["changes"]:
        yield "no field differs"
    for change in told["changes"]:
        yield change["field"] or "the whole"
        for sign, side in (("-", "before"), ("+", "after")):
            if side in change:
                yield f"  {sign} {json.dumps(change[side], ensure_ascii=False)}"  # type: ignore[literal-required]


def _outcome(edit: LetterEdit) -> str:
    if edit.state == LetterEdit.State.PROPOSED:
        return f"edit {edit.pk} waits for a second person: `dead_letters approve {edit.pk}`"
    return f"edit {edit.pk} is applied: replayed as job {edit.job_id}"
