"""manage.py queues list|pause|resume"""

import json
from argparse import ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from tasks import queues, words
from tasks.errors import TaskPlatformError
from tasks.management.arguments import add_person
from tasks.models import PausedQueue
from tasks.moments import read_moment_to_come
from tasks.queues import QueueState
from tasks.topology import TOPOLOGY


class Command(BaseCommand):
    help = (
        "Show how the queues stand, pause one, or resume it. A pause is noticed by every worker within about two "
        "seconds; what runs is not touched. Exit 1 when something was refused, 2 when the database can not be asked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        every = actions.add_parser("list", help="what waits, what runs, who takes it, and what is paused")
        pause = actions.add_parser("pause", help="begin no job of a queue; enqueueing goes on")
        resume = actions.add_parser("resume", help="let a queue's jobs begin again")
        for each in (pause, resume):
            each.add_argument("queue", choices=TOPOLOGY.queue_names, metavar="QUEUE")
            add_person(each)
        pause.add_argument("--reason", default="", help="for people, and the audit trail")
        pause.add_argument(
            "--until", type=_moment, metavar="WHEN", help="2026-03-01T12:30 (UTC), or in 30min, 2h, 3d or 1w"
        )
        for each in (every, pause, resume):
            each.add_argument("--json", action="store_true", dest="as_json", help="print JSON for scripts")

    def handle(self, *, action: str, as_json: bool, **options: Any) -> None:
        try:
            said = getattr(self, f"_{action}")(**options)
            states = queues.states((options["queue"],) if "queue" in options else TOPOLOGY.queue_names)
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(
                words.printable(f"the database can not be asked: {str(error).strip()}"), returncode=2
            ) from error
        except TaskPlatformError as error:
            raise CommandError(str(error)) from error
        if as_json:
            self.stdout.write(json.dumps([_as_dict(state) for state in states], indent=2, ensure_ascii=False))
        elif said:
            self.stdout.write(said)
        else:
            for state in states:
                self.stdout.write(words.printable(_in_words(state)))

    def _list(self, **_: Any) -> str:
        return ""

    def _pause(self, *, queue: str, by: str, reason: str, until: datetime | None, **_: Any) -> str:
        row = queues.pause(queue, requested_by=by, reason=reason, until=until)
        return f"{queue} is paused{_end(row)}; no worker begins a job of it"

    def _resume(self, *, queue: str, by: str, **_: Any) -> str:
        return f"{queue} is resumed" if queues.resume(queue, requested_by=by) else f"{queue} was not paused"


def _moment(text: str) -> datetime:
    try:
        return read_moment_to_come(text, now=timezone.now())
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _as_dict(state: QueueState) -> dict[str, Any]:
    pause = state.pause
    return {
        "name": state.name,
        "messages": state.messages,
        "trouble": state.trouble,
        "jobs": state.jobs,
        "workers": state.workers,
        "paused": pause
        and {
            "since": pause.since.isoformat(),
            "until": pause.until.isoformat() if pause.until else None,
            "by": pause.paused_by,
            "reason": pause.reason,
        },
    }


def _in_words(state: QueueState) -> str:
    ready = f"{state.messages:,}" if state.messages is not None else f"unknown ({state.trouble})"
    jobs = ", ".join(f"{number:,} {name}" for name, number in state.jobs.items() if number) or "no unfinished jobs"
    line = f"{state.name:<16} {ready} ready; {jobs}; {state.workers} worker{'' if state.workers == 1 else 's'}"
    if state.pause is None:
        return line
    why = f" “{state.pause.reason}”" if state.pause.reason else ""
    since = f"{state.pause.since:%Y-%m-%d %H:%M:%S} UTC"
    return f"{line}; PAUSED since {since}{_end(state.pause)} by {state.pause.paused_by}{why}"


def _end(pause: PausedQueue) -> str:
    return f" until {pause.until:%Y-%m-%d %H:%M:%S} UTC" if pause.until else ""
