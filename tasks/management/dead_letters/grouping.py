"""manage.py dead_letters groups|group"""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from tasks.dead_letters import documents, groups
from tasks.dead_letters.groups import MAX_LISTED, Status, Summary
from tasks.management.action import Action, Answer
from tasks.management.arguments import add_limit, add_person
from tasks.management.dead_letters.arguments import group_id
from tasks.management.facts import facts, one_line
from tasks.moments import read_moment_to_come


class Groups(Action):
    help = f"what failed in the same way, the latest failure first; those that want somebody. {MAX_LISTED} at most"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--status", choices=Status.values, help="those instead")
        parser.add_argument("--task", default="", help="of this task")
        add_limit(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        status = Status(options["status"]) if options["status"] else None
        found = groups.summaries(status=status, task=options["task"], limit=options["limit"])
        lines = [_line(each) for each in found] or ["no failure groups"]
        return Answer([documents.of_group(each) for each in found], lines)


class Group(Action):
    help = 'one failure group; with options, noted, snoozed or marked fixed first. An empty text, "", clears'
    spelled = {
        "runbook_url": "--runbook",
        "until": "--snooze",
        "release": "--fixed-in",
        "owner": "--owner",
        "note": "--note",
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=group_id)
        parser.add_argument("--owner", help="who sees to it")
        parser.add_argument("--note", help="what is known of it")
        parser.add_argument("--runbook", dest="runbook_url", metavar="URL", help="what to do about it")
        parser.add_argument(
            "--snooze", type=_moment_to_come, metavar="UNTIL", help="2h, 3d, 1w or 2026-03-01T12:30 (UTC)"
        )
        parser.add_argument(
            "--fixed-in", metavar="RELEASE", help="older ones stay quiet, this or a later one reopens it"
        )
        add_person(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        id, who = options["id"], options["by"]
        noted = {name: options[name] for name in ("owner", "note", "runbook_url") if options[name] is not None}
        with transaction.atomic():
            if noted:
                groups.note(id, requested_by=who, **noted)
            if options["snooze"] is not None:
                groups.snooze(id, until=options["snooze"] or None, requested_by=who)
            if options["fixed_in"] is not None:
                groups.fix(id, release=options["fixed_in"], requested_by=who)
        found = groups.summary(id)
        return Answer(documents.of_group(found), _lines(found))


def _moment_to_come(text: str) -> datetime | str:
    try:
        return text and read_moment_to_come(text, now=timezone.now())
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _line(found: Summary) -> str:
    group = found.group
    error = ": ".join(part for part in (group.error_type, group.message) if part)
    seen = f"{found.last_seen_at:%Y-%m-%d %H:%M:%S}" if found.last_seen_at else "no letters"
    counts = f"{found.open} open of {found.total}"
    return one_line(f"{group.pk}  {seen}  {found.status:<8}  {counts}  {group.task or 'message'}  {error}")


def _lines(found: Summary) -> Iterator[str]:
    told = documents.of_group(found)
    left_out = ("open", "total", "trend", "status")
    yield from facts({"status": found.status.label, "letters": f"{found.open} open of {found.total}"}, width=18)
    yield from facts({name: value for name, value in told.items() if name not in left_out}, width=18)
    yield from facts({"each hour": " ".join(map(str, found.trend))}, width=18)
