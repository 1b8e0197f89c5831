"""manage.py dead_letters edits|approve|reject: what waits for a second person."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from tasks.dead_letters import documents, editing
from tasks.management.action import Action, Answer
from tasks.management.arguments import account, add_limit, add_reason
from tasks.management.dead_letters.arguments import edit_id, letter_id
from tasks.management.dead_letters.editing import differences
from tasks.management.facts import one_line
from tasks.models import DeadLetter, LetterEdit


class Edits(Action):
    help = "the edits of a letter, or all that wait for approval, with their differences; the newest first"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=letter_id, nargs="?", help="of this letter, decided ones too")
        add_limit(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        found = LetterEdit.objects.select_related("letter__job").order_by("-id")
        if options["id"]:
            found = found.filter(letter=DeadLetter.objects.only("pk").get(pk=options["id"]))
        else:
            found = found.filter(state=LetterEdit.State.PROPOSED)
        edits = [documents.of_edit(edit) for edit in found[: options["limit"]]]
        return Answer(edits, [line for edit in edits for line in _lines(edit)] or ["no edits"])


class Approve(Action):
    help = (
        "apply an edit, under the account that runs this: another than the editor's, and of another name than the "
        "editor has in the admin"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=edit_id)

    def run(self, options: dict[str, Any]) -> Answer:
        edit = documents.of_edit(editing.approve(options["id"], approved_by=account()))
        return Answer(edit, [*differences(edit), f"edit {edit['id']} is applied: replayed as job {edit['job']}"])


class Reject(Action):
    help = "refuse an edit for good; the letter stays as it is"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=edit_id)
        add_reason(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        edit = editing.reject(options["id"], rejected_by=account(), reason=options["reason"])
        return Answer(documents.of_edit(edit), [f"edit {edit.pk} is rejected"])


def _lines(edit: documents.EditOut) -> Iterator[str]:
    said = f"by {edit['edited_by']}: {edit['reason']}"
    yield one_line(f"{edit['id']}  {edit['edited_at']:%Y-%m-%d %H:%M:%S}  {edit['state']}  {said}")
    yield one_line(f"  letter {edit['letter']}, {edit['task']}")
    for line in differences(edit):
        yield f"  {line}"
