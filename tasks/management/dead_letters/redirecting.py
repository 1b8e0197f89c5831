"""manage.py dead_letters redirects list|add|remove"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from tasks.dead_letters import documents, redirects
from tasks.management.action import Action, Actions, Answer
from tasks.management.arguments import add_person, add_reason
from tasks.management.facts import one_line
from tasks.models import Redirect


class List(Action):
    help = "the standing redirects, oldest first"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """None."""

    def run(self, options: dict[str, Any]) -> Answer:
        found = redirects.standing()
        lines = [_line(redirect) for redirect in found] or ["no redirects"]
        return Answer([documents.of_redirect(redirect) for redirect in found], lines)


class Add(Action):
    help = "replay a task or a queue elsewhere from now on"
    spelled = {name: f"--{name.replace('_', '-')}" for name in ("from_task", "from_queue", "to_task", "to_queue")}

    def add_arguments(self, parser: ArgumentParser) -> None:
        for name, help in (
            ("--from-task", "of this task"),
            ("--from-queue", "of this queue"),
            ("--to-task", "as this task"),
            ("--to-queue", "on this queue"),
        ):
            parser.add_argument(name, default="", help=help)
        add_reason(parser, "why, which is needed")
        add_person(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        asked = {name: options[name] for name in (*self.spelled, "reason")}
        redirect = redirects.add(**asked, requested_by=options["by"])
        return Answer(documents.of_redirect(redirect), [_line(redirect)])


class Remove(Action):
    help = "end a redirect; what it has moved stays where it is"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=int)
        add_reason(parser)
        add_person(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        try:
            redirects.remove(options["id"], requested_by=options["by"], reason=options["reason"])
        except Redirect.DoesNotExist:
            told = f"there is no redirect {options['id']}; `dead_letters redirects list` prints them"
            raise CommandError(told) from None
        return Answer({"id": options["id"], "removed": True}, [f"redirect {options['id']} is removed"])


ACTIONS = Actions("where letters go when they are replayed", {"list": List(), "add": Add(), "remove": Remove()})


def _line(redirect: Redirect) -> str:
    come = " on ".join(part for part in (redirect.from_task, redirect.from_queue) if part)
    to = " on ".join(part for part in (redirect.to_task, redirect.to_queue) if part)
    return one_line(f"{redirect.pk}  {come} -> {to}  by {redirect.created_by}: {redirect.reason}")
