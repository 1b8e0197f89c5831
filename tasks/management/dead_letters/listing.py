"""manage.py dead_letters list"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from tasks.management.dead_letters.action import Action, Answer, as_dict
from tasks.models import DeadLetter, error_summary
from tasks.registry import registry


class List(Action):
    help = "the newest first, open ones unless told otherwise"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--state", choices=[*DeadLetter.State.values, "all"], default="open")
        parser.add_argument("--task", help="of this task, under its earlier names too")
        parser.add_argument("--queue", help="of this queue")
        parser.add_argument("--reason", choices=DeadLetter.Reason.values, metavar="REASON", help="like exhausted")
        parser.add_argument("--limit", type=int, default=50, help="how many at most (50)")

    def run(self, options: dict[str, Any]) -> Answer:
        limit = options["limit"]
        if limit < 1:
            raise CommandError("--limit is at least 1")
        names = registry.names_of(options["task"]) if options["task"] else None
        state = None if options["state"] == "all" else options["state"]
        asked = {"state": state, "task__in": names, "queue": options["queue"], "reason": options["reason"]}
        given = {name: value for name, value in asked.items() if value is not None}
        found = list(DeadLetter.objects.filter(**given).defer("body", "traceback")[: limit + 1])
        letters = found[:limit]
        lines = [_line(letter) for letter in letters] or ["no dead letters"]
        if len(found) > limit:
            lines.append(f"… and more: these are the newest {limit}; --limit shows as many as you ask for")
        return Answer([as_dict(letter) for letter in letters], lines)


def _line(letter: DeadLetter) -> str:
    what = f"{letter.task or 'message'}  {letter.queue}  {letter.reason}"
    error = error_summary(letter.error_type, letter.error)
    return f"{letter.pk}  {letter.died_at:%Y-%m-%d %H:%M:%S}  {letter.state:<9}  {what}  {error}".rstrip()
