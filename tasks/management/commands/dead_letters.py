"""manage.py dead_letters: the recovery desk in a terminal"""

from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError
from pydantic_core import to_json

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
from tasks.management.dead_letters.action import Action, Actions, add_actions

ACTIONS: dict[str, Action | Actions] = {
    "list": finding.List(),
    "show": showing.Show(),
    "groups": grouping.Groups(),
    "group": grouping.Group(),
    "rehearse": rehearsing.Rehearse(),
    "replay": one_by_one.Replay(),
    "discard": one_by_one.Discard(),
    "restore": one_by_one.Restore(),
    "edit": editing.Edit(),
    "repair": editing.Repair(),
    "edits": deciding.Edits(),
    "approve": deciding.Approve(),
    "reject": deciding.Reject(),
    "operation": operating.ACTIONS,
    "redirects": redirecting.ACTIONS,
    "purge": purging.Purge(),
}

_SPELLED = {name: f"--{name}" for name in ("reason", "task", "queue")}


class Command(BaseCommand):
    help = (
        "Find dead letters, see why they died, and do something about them. Exit 1 when something was refused, or did "
        "not go well; 2 when the database can not be asked. What is sensitive is masked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_actions(parser, ACTIONS)

    def handle(self, *, action: Action, as_json: bool, **options: Any) -> None:
        try:
            answer = action.run({**options, "as_json": as_json})
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
        if as_json:
            self.stdout.write(to_json(answer.data, indent=2).decode())
        else:
            for line in answer.lines:
                self.stdout.write(line)
        if answer.complaint:
            raise CommandError(answer.complaint)


def _nowhere(error: ObjectDoesNotExist, id: object) -> str:
    """Like "there is no dead letter 0190…"."""
    kind = type(error).__qualname__.partition(".")[0]
    named = {"DeadLetter": "dead letter", "FailureGroup": "failure group", "LetterEdit": "edit"}
    return f"there is no {named.get(kind, kind.lower())} {id}"
