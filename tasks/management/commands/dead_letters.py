"""manage.py dead_letters list|show|replay"""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from tasks.errors import TaskPlatformError
from tasks.management.dead_letters.action import Action
from tasks.management.dead_letters.listing import List
from tasks.management.dead_letters.replay import Replay
from tasks.management.dead_letters.showing import Show
from tasks.models import DeadLetter

ACTIONS: dict[str, Action] = {"list": List(), "show": Show(), "replay": Replay()}


class Command(BaseCommand):
    help = (
        "Find dead letters, see why they died, and do something about them. Exit 1 when something was refused, 2 when "
        "the database can not be asked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, action in ACTIONS.items():
            own = actions.add_parser(name, help=action.help)
            action.add_arguments(own)
            own.add_argument("--json", action="store_true", dest="as_json", help="print JSON for scripts")

    def handle(self, *, action: str, as_json: bool, **options: Any) -> None:
        try:
            answer = ACTIONS[action].run(options)
        except DeadLetter.DoesNotExist:
            raise CommandError(f"there is no dead letter {options['id']}") from None
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"the database can not be asked: {str(error).strip()}", returncode=2) from error
        except TaskPlatformError as error:
            raise CommandError(str(error)) from error
        if as_json:
            self.stdout.write(json.dumps(answer.data, indent=2, ensure_ascii=False))
        else:
            for line in answer.lines:
                self.stdout.write(line)
        if answer.complaint:
            raise CommandError(answer.complaint)
