"""A command of many actions, listed under rooms: `manage.py dead_letters`, `manage.py jobs`."""

import shutil
import textwrap
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from django.core.exceptions import ObjectDoesNotExist
from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter
from django.db import DatabaseError, InterfaceError
from pydantic_core import to_json

from tasks import words
from tasks.errors import InvalidJob, TaskPlatformError
from tasks.management.action import Action, Actions, Answer, add_actions

_KINDS = {"DeadLetter": "dead letter", "FailureGroup": "failure group", "LetterEdit": "edit"}


class _Formatter(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """As Django's, with the lines of the description where they are."""


class GroupedCommand(BaseCommand):
    """``rooms``: under each heading, its actions by the word that is typed."""

    name: ClassVar[str]
    rooms: ClassVar[Mapping[str, Mapping[str, Action | Actions]]]
    spelled: ClassVar[Mapping[str, str]] = {}
    """What the services call by a word of theirs, as one types it here, in every action."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = _Formatter
        parser.description = "\n".join(self._overview())
        add_actions(parser, {word: each for room in self.rooms.values() for word, each in room.items()}, lists=False)

    def handle(self, *, action: Action, as_json: bool, **options: Any) -> None:
        try:
            answer = self._answer(action, {**options, "as_json": as_json})
            lines = [to_json(answer.data, indent=2).decode()] if as_json else answer.lines
            for line in lines:
                self.stdout.write(words.printable(line))
            if answer.complaint:
                raise CommandError(answer.complaint, returncode=answer.code)
        except CommandError as error:
            raise CommandError(words.printable(str(error)), returncode=error.returncode) from error.__cause__

    def _answer(self, action: Action, options: dict[str, Any]) -> Answer:
        """What ``action`` gives. Raises CommandError in the words of who typed it."""
        try:
            return action.run(options)
        except ObjectDoesNotExist as error:
            kind = type(error).__qualname__.partition(".")[0]
            named = options.get("id") or options.get("batch") or ""
            raise CommandError(f"there is no {_KINDS.get(kind, kind.lower())} {named}".strip()) from None
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"the database can not be asked: {str(error).strip()}", returncode=2) from error
        except InvalidJob as error:
            names = {**self.spelled, **action.spelled}
            faults = (f"{names.get(each['field'], each['field'])}: {each['message']}" for each in error.problems)
            raise CommandError("\n".join(faults), returncode=action.invalid_code) from error
        except TaskPlatformError as error:
            raise CommandError(str(error)) from error

    def _overview(self) -> Iterator[str]:
        """The actions under their rooms, which argparse can not do."""
        width = max(40, shutil.get_terminal_size().columns - 2)
        yield from textwrap.wrap(self.help, width)
        for room, actions in self.rooms.items():
            yield f"\n{room}:"
            for word, action in actions.items():
                about = f"{word:<10} {action.help}"
                yield from textwrap.wrap(about, width, initial_indent="  ", subsequent_indent=" " * 13)
        yield f"\n`{self.name} ACTION --help` says more of one."
