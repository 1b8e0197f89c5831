"""manage.py dead_letters purge"""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from tasks import audit
from tasks.dead_letters import operations, preflight
from tasks.management.action import Action, Answer
from tasks.management.arguments import add_person, add_reason
from tasks.management.dead_letters.arguments import add_confirmation
from tasks.management.dead_letters.progress import confirm_some, followed, looked
from tasks.models import Operation
from tasks.permissions import of_operation
from tasks.purging import WAITING
from tasks.states import JobState

Verb = Operation.Verb


class Purge(Action):
    help = (
        "empty a live queue: its waiting jobs are cancelled and parked; `operation undo` puts them back in their order"
    )
    spelled = {"queue": "queue", "states": "--states", "query": "queue"}

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("queue", help="like email-queue")
        states = ",".join(WAITING)
        parser.add_argument("--states", type=_states, default=[JobState.QUEUED.value], help=f"among {states} (queued)")
        add_reason(parser, "why, which is needed")
        add_confirmation(parser)
        add_person(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        query = {"queue": options["queue"], "states": options["states"]}
        if not options["yes"]:
            audit.require_reason(of_operation(Verb.PURGE), options["reason"])
            found = preflight.look(Verb.PURGE, query)
            confirm_some(f"Purge {options['queue']}?", found, [*looked(Verb.PURGE, found)], options)
        return followed(operations.start(Verb.PURGE, query, requested_by=options["by"], reason=options["reason"]))


def _states(text: str) -> list[str]:
    states = [state for state in text.split(",") if state]
    if not states or not set(states) <= set(WAITING):
        raise ArgumentTypeError(f"{text!r} is no list of states; write some of {','.join(WAITING)}")
    return states
