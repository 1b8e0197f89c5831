"""manage.py dead_letters: the recovery desk in a terminal"""

import shutil
import textwrap
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter
from django.db import DatabaseError, InterfaceError
from pydantic_core import to_json

from tasks import words
from tasks.errors import InvalidJob, TaskPlatformError
from tasks.management.dead_letters import (
    deciding,
    editing,
    finding,
    grouping,
    one_by_one,
    operating,
    purging,
    redirecting,
    rehearsing,
    showing,
)
from tasks.management.dead_letters.action import Action, Actions, Answer, add_actions

ROOMS: dict[str, dict[str, Action | Actions]] = {
    "find": {
        "list": finding.List(),
        "groups": grouping.Groups(),
        "group": grouping.Group(),
    },
    "understand": {
        "show": showing.Show(),
        "rehearse": rehearsing.Rehearse(),
    },
    "repair": {
        "replay": one_by_one.Replay(),
        "edit": editing.Edit(),
        "repair": editing.Repair(),
        "edits": deciding.Edits(),
        "approve": deciding.Approve(),
        "reject": deciding.Reject(),
        "discard": one_by_one.Discard(),
        "restore": one_by_one.Restore(),
        "redirects": redirecting.ACTIONS,
    },
    "many at once": {
        "operation": operating.ACTIONS,
        "purge": purging.Purge(),
    },
}

_SPELLED = {name: f"--{name}" for name in ("reason", "task", "queue")}


class _Formatter(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """As Django's, with the lines of the description where they are."""


class Command(BaseCommand):
    help = (
        "Find dead letters, see why they died, and do something about them. Exit 1 when something was refused, or did "
        "not go well; 2 when it was typed wrong, or the database can not be asked. What is sensitive is masked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = _Formatter
        parser.description = "\n".join(_overview(self.help))
        add_actions(parser, {word: each for room in ROOMS.values() for word, each in room.items()}, lists=False)

    def handle(self, *, action: Action, as_json: bool, **options: Any) -> None:
        try:
            answer = _answer(action, {**options, "as_json": as_json})
            lines = [to_json(answer.data, indent=2).decode()] if as_json else answer.lines
            for line in lines:
                self.stdout.write(words.printable(line))
            if answer.complaint:
                raise CommandError(answer.complaint)
        except CommandError as error:
            raise CommandError(words.printable(str(error)), returncode=error.returncode) from error.__cause__


def _answer(action: Action, options: dict[str, Any]) -> Answer:
    """What ``action`` gives. Raises CommandError in the words of who typed it."""
    try:
        return action.run(options)
    except ObjectDoesNotExist as error:
        raise CommandError(_nowhere(error, options["id"])) from None
    except (DatabaseError, InterfaceError) as error:
        raise CommandError(f"the database can not be asked: {str(error).strip()}", returncode=2) from error
    except InvalidJob as error:
        names = {**_SPELLED, **action.spelled}
        faults = (f"{names.get(each['field'], each['field'])}: {each['message']}" for each in error.problems)
        raise CommandError("\n".join(faults)) from error
    except TaskPlatformError as error:
        raise CommandError(str(error)) from error


def _overview(help: str) -> Iterator[str]:
    """The actions under their rooms, which argparse can not do."""
    width = max(40, shutil.get_terminal_size().columns - 2)
    yield from textwrap.wrap(help, width)
    for room, actions in ROOMS.items():
        yield f"\n{room}:"
        for word, action in actions.items():
            yield from textwrap.wrap(
                f"{word:<10} {action.help}", width, initial_indent="  ", subsequent_indent=" " * 13
            )
    yield "\n`dead_letters ACTION --help` says more of one."


def _nowhere(error: ObjectDoesNotExist, id: object) -> str:
    """Like "there is no dead letter 0190…"."""
    kind = type(error).__qualname__.partition(".")[0]
    named = {"DeadLetter": "dead letter", "FailureGroup": "failure group", "LetterEdit": "edit"}
    return f"there is no {named.get(kind, kind.lower())} {id}"
