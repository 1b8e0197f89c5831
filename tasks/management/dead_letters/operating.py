"""manage.py dead_letters operation: one verb on all that match, looked at first, then carried on by the workers."""

import math
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.utils import timezone

from tasks import audit
from tasks.dead_letters import documents, operations, preflight
from tasks.dead_letters.pacing import FASTEST, RATE_PER_SECOND, STEPS, STOP_RATIO
from tasks.dead_letters.query import up_to
from tasks.errors import InvalidOperation
from tasks.management.action import Action, Actions, Answer
from tasks.management.arguments import add_limit, add_person, add_reason
from tasks.management.dead_letters.arguments import add_confirmation, operation_id
from tasks.management.dead_letters.progress import confirm_some, followed, line, looked, progressed
from tasks.management.dead_letters.watching import complaint, watch
from tasks.models import Operation
from tasks.permissions import of_operation

Verb = Operation.Verb
VERBS = (Verb.REPLAY.value, Verb.DISCARD.value, Verb.RESTORE.value)

_UNDONE_BY: dict[str, Verb] = {Verb.DISCARD: Verb.RESTORE, Verb.PURGE: Verb.UNPURGE}
_PACE = {"steps": "--steps", "rate_per_second": "--rate", "stop_ratio": "--stop-at"}


class Preflight(Action):
    help = "what an operation would do, and which letters it would leave out and why; nothing is done"
    spelled = _PACE

    def add_arguments(self, parser: ArgumentParser) -> None:
        _add_what(parser)
        _add_rate(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        verb, query = options["verb"], _bounded(options)
        pacing = operations.pacing_for(verb, rate_per_second=options["rate_per_second"])
        found = preflight.look(verb, query, rate_per_second=pacing.rate_per_second)
        return Answer(documents.of_preflight(found, query), looked(verb, found))


class Start(Action):
    help = (
        "do it to all that match now: shows the preflight, and asks. Replays go by canary: each step waits for all "
        "outcomes of the one before"
    )
    spelled = _PACE

    def add_arguments(self, parser: ArgumentParser) -> None:
        _add_what(parser)
        canary = parser.add_mutually_exclusive_group()
        canary.add_argument(
            "--steps", type=_steps, metavar="N,N,…", help=f"of the canary ({','.join(map(str, STEPS))})"
        )
        canary.add_argument("--no-canary", action="store_const", const=[], dest="steps", help="all at the rate")
        _add_rate(parser)
        parser.add_argument(
            "--stop-at",
            type=_part,
            dest="stop_ratio",
            metavar="N%",
            help=f"stop once more than this part of the outcomes failed ({STOP_RATIO:.0%})".replace("%", "%%"),
        )
        add_reason(parser, "why; needed to discard")
        add_confirmation(parser)
        add_person(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        verb, query = options["verb"], _bounded(options)
        pace = {name: options[name] for name in _PACE}
        if not options["yes"]:
            audit.require_reason(of_operation(verb), options["reason"])  # who is asked is not refused afterwards
            pacing = operations.pacing_for(verb, **pace)
            found = preflight.look(verb, query, rate_per_second=pacing.rate_per_second)
            confirm_some(f"{verb.capitalize()} {found.will:,}?", found, [*looked(verb, found, pacing)], options)
        return followed(operations.start(verb, query, requested_by=options["by"], reason=options["reason"], **pace))


class Undo(Action):
    help = "put back what an operation has discarded or purged, as it was and in the same order"
    spelled = {"operation": "id", "query": "id"}

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=operation_id)
        add_reason(parser)
        add_person(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        verb = Operation.objects.values_list("verb", flat=True).get(pk=options["id"])
        if verb not in _UNDONE_BY:
            raise InvalidOperation([{"field": "operation", "message": f"is a {verb}, which can not be undone"}])
        query = {"operation": str(options["id"])}
        undoing = operations.start(_UNDONE_BY[verb], query, requested_by=options["by"], reason=options["reason"])
        return followed(undoing)


class List(Action):
    help = "the newest first"

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_limit(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        told = [documents.of_operation(each) for each in Operation.objects.order_by("-id")[: options["limit"]]]
        return Answer(told, [line(each) for each in told] or ["no operations"])


class Show(Action):
    help = "how far one is; exit 1 when it has stopped, was cancelled, or ended with failures"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=operation_id)
        parser.add_argument("--watch", action="store_true", help="until it has ended, pauses included")

    def run(self, options: dict[str, Any]) -> Answer:
        operation = watch(options["id"]) if options["watch"] else Operation.objects.get(pk=options["id"])
        told = documents.of_operation(operation)
        return Answer(told, progressed(told), complaint(operation))


class Steer(Action):
    """Pause, resume or cancel."""

    def __init__(self, verb: str, help: str):
        self.help = help
        self._act = {"pause": operations.pause, "resume": operations.resume, "cancel": operations.cancel}[verb]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=operation_id)
        add_person(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        told = documents.of_operation(self._act(options["id"], requested_by=options["by"]))
        return Answer(told, progressed(told))


ACTIONS = Actions(
    "replay, discard or restore all that match a query",
    {
        "preflight": Preflight(),
        "start": Start(),
        "undo": Undo(),
        "list": List(),
        "show": Show(),
        "pause": Steer("pause", "send nothing more until it is resumed"),
        "resume": Steer("resume", "go on"),
        "cancel": Steer("cancel", "end it; what it has not sent stays as it is"),
    },
)


def _add_what(parser: ArgumentParser) -> None:
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("query", nargs="+", help='as of `dead_letters list`; "" is all there are')


def _add_rate(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--rate",
        type=_rate,
        dest="rate_per_second",
        metavar="N",
        help=f"of the rest, letters a second ({RATE_PER_SECOND:g}; {FASTEST:,.0f} at most), or fastest; replay only",
    )


def _bounded(options: dict[str, Any]) -> Any:
    """The query without what dies after this moment: what is confirmed is what was looked at."""
    return up_to(" ".join(options["query"]), timezone.now().isoformat())


def _steps(text: str) -> list[int]:
    try:
        if steps := [int(size) for size in text.replace(",", " ").split()]:
            return steps
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no list of whole numbers; write them like 1,5,25") from None
    raise ArgumentTypeError("there are no steps in it; say --no-canary")


def _rate(text: str) -> float:
    try:
        return math.inf if text == "fastest" else float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no number of letters a second, like 10, and not fastest") from None


def _part(text: str) -> float:
    """`20%` and `0.2` are the same part."""
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no part; write it like 20%") from None
