"""manage.py dead_letters show"""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError

from tasks import words
from tasks.dead_letters import inspection
from tasks.dead_letters.inspection import Inspection
from tasks.management.action import Action, Answer
from tasks.management.arguments import add_person, add_reason
from tasks.management.dead_letters.arguments import letter_id
from tasks.management.facts import facts


class Show(Action):
    help = "all that is known of one letter: cause, payload, attempts, timeline, what the broker knew"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=letter_id)
        parser.add_argument("--unmask", action="store_true", help="hide nothing that is sensitive; it is audited")
        add_reason(parser, "why you unmask it")
        add_person(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        if options["unmask"]:
            if not options["reason"].strip():
                raise CommandError("--reason: say why you --unmask it; the audit trail keeps it")
            found = inspection.unmask(options["id"], requested_by=options["by"], reason=options["reason"])
        else:
            found = inspection.inspect(options["id"])
        return Answer(found.document(), _lines(found))


def _lines(found: Inspection) -> Iterator[str]:
    names = ("id", "state", "cause", "task", "queue", "release", "died_at")
    yield from facts({name: getattr(found, name) for name in names})
    yield from facts(
        {
            "job": found.job_id and f"{found.job_id}, attempt {found.attempt}",
            "group": found.group and found.group.pk,
            "error": words.error_line(found.error_type, found.error),
            "payload": found.payload,
            "exchange": found.exchange,
            "routing_key": found.routing_key,
            "headers": found.headers,
            "deaths": "\n".join(found.deaths),
            "evidence": found.evidence,
        }
    )
    if body := found.body:
        yield from facts({"body": f"{body.size_bytes:,} bytes", "": body.hex if "\\x" in body.text else body.text})
    if found.traceback:
        yield from facts({"traceback": found.traceback})
    for attempt in found.attempts:
        took = f" after {words.duration(attempt.seconds)}" if attempt.seconds is not None else ""
        error = words.error_line(attempt.error_type, attempt.error)
        yield from facts({f"attempt {attempt.number}": f"{attempt.status.lower()} on {attempt.worker}{took}  {error}"})
    if found.timeline:
        yield "timeline"
    for moment in found.timeline:
        by = f", by {moment.by}" if moment.by else ""
        yield f"  {moment.at:%Y-%m-%d %H:%M:%S}  {moment.text}{by}"
    if found.is_masked:
        yield "What is sensitive is masked; --unmask shows it, and is audited."
