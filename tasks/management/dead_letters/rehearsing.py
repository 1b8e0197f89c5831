"""manage.py dead_letters rehearse"""

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError

from tasks import words
from tasks.dead_letters import rehearsal
from tasks.dead_letters.rehearsal import Rehearsal
from tasks.management.action import Action, Answer
from tasks.management.arguments import account, read_file
from tasks.management.dead_letters.arguments import letter_id
from tasks.management.facts import facts


class Rehearse(Action):
    help = (
        "run a dead job in a sandbox and tell what a replay would do; nothing is sent or changed, exit 1 unless passed"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=letter_id)
        parser.add_argument("--payload", metavar="FILE", help="with the payload in it, as JSON; - is standard input")
        parser.add_argument("--task", default="", help="as this task")

    def run(self, options: dict[str, Any]) -> Answer:
        payload = _payload(options["payload"]) if options["payload"] else None
        seen = rehearsal.rehearse(options["id"], requested_by=account(), payload=payload, task=options["task"])
        report = rehearsal.masked(seen, payload=payload)
        complaint = {
            "passed": "",
            "failed": f"the rehearsal failed: {_error(report)}",
            "unclear": "the rehearsal is unclear: the sandbox held the task back",
        }[report.verdict]
        return Answer({**report.as_dict(), "limits": rehearsal.LIMITS}, _lines(report), complaint)


def _payload(name: str) -> dict[str, Any]:
    try:
        payload = json.loads(read_file(name))
    except (ValueError, RecursionError) as error:
        raise CommandError(f"--payload: {name} is no JSON: {error}") from None
    if not isinstance(payload, dict):
        raise CommandError(f"--payload: {name} holds no JSON object")
    return payload


def _error(report: Rehearsal) -> str:
    return words.error_line(report.outcome["error_type"], report.outcome["error"])


def _lines(report: Rehearsal) -> Iterator[str]:
    yield from facts(
        {
            "verdict": f"{report.verdict} after {words.duration(report.seconds)}, as {report.task}",
            "then": report.original["summary"],
            "now": _error(report) or report.outcome["result"],
        }
    )
    for name, told in (
        ("refused", report.refused),
        ("mail", [f"to {', '.join(mail['recipients'])}: {mail['subject']}" for mail in report.mails]),
        ("message", [f"{sent['channel']} to {sent['recipients']}" for sent in report.messages]),
        ("file", [f"{file['name']}, {file['size_bytes']:,} bytes" for file in report.files]),
        ("rows", [f"{rows['act']} {rows['number']} in {rows['table']}" for rows in report.rows]),
        ("job", [f"{job['task']} on {job['queue']}" for job in report.jobs]),
        ("program", report.programs),
        ("log", [f"{line['level']}  {line['message']}" for line in report.log]),
        ("output", [report.output] if report.output else []),
        ("traceback", [report.outcome["traceback"]] if report.outcome["traceback"] else []),
    ):
        for each in told:
            yield from facts({name: each})
