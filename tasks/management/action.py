"""What an action of a command is, and gives back: one word after `manage.py dead_letters` or `manage.py jobs`."""

import sys
from abc import ABC, abstractmethod
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django.core.management.base import CommandError

from tasks import words


@dataclass(frozen=True)
class Answer:
    """``data`` for scripts, ``lines`` for people, and the complaint that it ends with; empty: all was done. With a
    complaint, the process exits with ``code``."""

    data: Any
    lines: Iterable[str]
    complaint: str = ""
    code: int = 1


class Action(ABC):
    """One word after the command's. What ``run`` raises of the platform's errors becomes the complaint."""

    help: str
    spelled: ClassVar[Mapping[str, str]] = {}
    """What the services call by a word of theirs, as one types it here."""
    invalid_code: ClassVar[int] = 1
    """What the process exits with where the services say that something was typed wrong."""

    @abstractmethod
    def add_arguments(self, parser: ArgumentParser) -> None: ...

    @abstractmethod
    def run(self, options: dict[str, Any]) -> Answer: ...


class Actions:
    """Several actions behind one word, like `operation start`."""

    def __init__(self, help: str, actions: Mapping[str, Action]):
        self.help = help
        self.actions = actions


def add_actions(parser: ArgumentParser, actions: Mapping[str, "Action | Actions"], *, lists: bool = True) -> None:
    """A parser for each, with --json; the parsed options hold the one that was asked for as ``action``. Without
    ``lists`` the help of ``parser`` leaves them to somebody else."""
    choices = parser.add_subparsers(required=True, metavar="ACTION", help=None if lists else "one of those above")
    for word, action in actions.items():
        listed: dict[str, Any] = {"help": action.help} if lists else {}  # argparse asks whether help was given
        own = choices.add_parser(word, description=action.help, **listed)
        if isinstance(action, Actions):
            add_actions(own, action.actions)
            continue
        action.add_arguments(own)
        own.add_argument("--json", action="store_true", dest="as_json", help="print JSON for scripts")
        own.set_defaults(action=action)


def confirm(question: str, lines: Iterable[str], options: Mapping[str, Any]) -> None:
    """Show ``lines`` and ask, unless --yes says so already. Raises CommandError unless the answer is yes."""
    if options["yes"]:
        return
    if options["as_json"]:
        raise CommandError("--json asks nothing; add --yes")
    for line in lines:
        print(words.printable(line), file=sys.stderr)
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # input() would ask into a redirected output
    try:
        answer = input()
    except EOFError:
        raise CommandError("there is nobody to ask; add --yes") from None
    except KeyboardInterrupt:
        print(file=sys.stderr)
        raise CommandError("nothing was done") from None
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was done")
