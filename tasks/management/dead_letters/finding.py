"""manage.py dead_letters list"""

from argparse import ArgumentParser
from typing import Any

from tasks.dead_letters import documents, search
from tasks.management.action import Action, Answer
from tasks.management.arguments import add_limit
from tasks.management.facts import one_line
from tasks.models import DeadLetter


class List(Action):
    help = "those that match, the newest first; open ones unless told otherwise"

    def add_arguments(self, parser: ArgumentParser) -> None:
        about = "words of the error, task:email.send, queue:…, after:2h, data.customer.id:42 …: docs/recovery-desk.md"
        parser.add_argument("query", nargs="*", help=about)
        parser.add_argument("--state", choices=[*DeadLetter.State.values, "all"], default="open")
        add_limit(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        query, state, limit = " ".join(options["query"]), options["state"], options["limit"]
        found = search.letters(query, state=state).defer("body", "properties", "traceback", "evidence")
        letters = [documents.of_letter(letter) for letter in found[:limit]]
        count = search.how_many(query, state=state)
        lines = [_line(letter) for letter in letters] or ["no dead letters"]
        if count.number > len(letters):
            lines.append(f"… the newest {len(letters):,} of {count}; --limit shows more, a query fewer")
        return Answer({"items": letters, "count": documents.of_count(count)}, lines)


def _line(letter: documents.LetterOut) -> str:
    when = f"{letter['died_at']:%Y-%m-%d %H:%M:%S}"
    what = f"{letter['task'] or 'message'}  {letter['queue']}  {letter['reason']}  {letter['error']}"
    return one_line(f"{letter['id']}  {when}  {letter['state']:<9}  {what}")
