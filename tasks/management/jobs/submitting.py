"""manage.py jobs submit"""

import json
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from tasks.batches import enqueue_many
from tasks.dispatch import enqueue
from tasks.management.action import Action, Answer
from tasks.management.arguments import add_person, read_file
from tasks.management.jobs import outcomes
from tasks.management.jobs.following import watch_batch, watch_jobs
from tasks.management.jobs.watching import add_wait, of_batch
from tasks.models import Job
from tasks.states import Priority


class Submit(Action):
    help = "enqueue a task: one job, or a batch of a job for each line of a file"
    invalid_code = outcomes.WRONG

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("task", help="like email.send; a payload that is wrong is told field by field")
        payload = parser.add_mutually_exclusive_group()
        payload.add_argument("--payload", metavar="JSON", help="the payload, as a JSON object")
        payload.add_argument("--payload-file", metavar="FILE", help="a file with it; - is standard input")
        payload.add_argument("--many", metavar="FILE", help="a file with one payload a line; - is standard input")
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="FIELD=VALUE",
            type=_assignment,
            help="one field of the payload, as JSON or as plain text; may come again",
        )
        parser.add_argument("--priority", choices=Priority.values, default=Priority.NORMAL)
        parser.add_argument("--delay", type=float, metavar="SECONDS", help="run it this long from now")
        parser.add_argument("--run-at", type=moment, metavar="TIME", help="or then, like 2026-12-01T08:00:00Z")
        parser.add_argument("--expires-at", type=moment, metavar="TIME", help="bury it if it has not begun by then")
        parser.add_argument("--idempotency-key", metavar="KEY", help="the same key again gives the first job")
        parser.add_argument("--correlation-id", default="", metavar="ID")
        parser.add_argument("--metadata", metavar="JSON", help="a JSON object of yours, kept with the job")
        add_wait(parser)
        add_person(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        asked = {
            "priority": options["priority"],
            "delay_seconds": options["delay"],
            "run_at": options["run_at"],
            "expires_at": options["expires_at"],
            "idempotency_key": options["idempotency_key"],
            "correlation_id": options["correlation_id"],
            "metadata": _object("--metadata", options["metadata"]) if options["metadata"] else None,
            "requested_by": options["by"],
        }
        if options["many"]:
            return _many(options, asked)
        job = enqueue(options["task"], _payload(options), **asked)
        if not options["wait"]:
            return outcomes.accepted([Job.objects.get(pk=job.pk)])
        return outcomes.waited(watch_jobs([job.pk], seconds=options["seconds"]))


def _many(options: dict[str, Any], asked: dict[str, Any]) -> Answer:
    common = dict(options["set"])
    lines = [line for line in read_file(options["many"]).splitlines() if line.strip()]
    payloads = [_object(f"line {number}", line) | common for number, line in enumerate(lines, start=1)]
    if not payloads:
        raise CommandError(f"{options['many']} has no payload", returncode=outcomes.WRONG)
    batch = enqueue_many(options["task"], payloads, **asked)
    if options["wait"]:
        watch_batch(batch, seconds=options["seconds"])
    return of_batch(batch, waited=options["wait"])


def _payload(options: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if options["payload"]:
        given = _object("--payload", options["payload"])
    elif options["payload_file"]:
        given = _object("--payload-file", read_file(options["payload_file"]))
    return given | dict(options["set"])


def _object(what: str, text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except ValueError as error:
        raise CommandError(f"{what}: is not JSON: {error}", returncode=outcomes.WRONG) from None
    if not isinstance(given, dict):
        raise CommandError(f'{what}: is no JSON object, like {{"to": ["ann@example.com"]}}', returncode=outcomes.WRONG)
    return given


def _assignment(text: str) -> tuple[str, Any]:
    name, mark, value = text.partition("=")
    if not (name and mark):
        raise ArgumentTypeError(f"{text!r} is no FIELD=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no moment, like 2026-12-01T08:00:00Z") from None
    if moment.tzinfo is None:
        raise ArgumentTypeError(f"{text!r} needs a time zone, like 2026-12-01T08:00:00Z")
    return moment
