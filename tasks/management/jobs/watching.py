"""manage.py jobs watch"""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError

from tasks.management.action import Action, Answer
from tasks.management.arguments import id_of
from tasks.management.facts import facts
from tasks.management.jobs import outcomes
from tasks.management.jobs.following import watch_batch, watch_jobs
from tasks.models import Batch
from tasks.states import FINAL, JobState

job_id = id_of("a job", "jobs list")
batch_id = id_of("a batch", "jobs submit --many")


def add_wait(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--wait", action="store_true", help="until it has ended, with a bar; the outcome is the exit code"
    )
    add_seconds(parser)


def add_seconds(parser: ArgumentParser) -> None:
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="wait for N seconds at most; else to the end")


class Watch(Action):
    help = "follow jobs, or a batch, until they have ended"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", type=job_id, nargs="*", metavar="id")
        parser.add_argument("--batch", type=batch_id, metavar="ID", help="all jobs of this batch instead")
        add_seconds(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        if bool(options["ids"]) == bool(options["batch"]):
            raise CommandError("name jobs, or one --batch", returncode=outcomes.WRONG)
        if options["ids"]:
            return outcomes.waited(watch_jobs(options["ids"], seconds=options["seconds"]))
        batch = Batch.objects.get(pk=options["batch"])
        watch_batch(batch, seconds=options["seconds"])
        return of_batch(batch, waited=True)


def of_batch(batch: Batch, *, waited: bool) -> Answer:
    """How far it is; where somebody has ``waited``, what is not well is a complaint."""
    counts = {str(state): count for state, count in batch.progress().items()}
    lines = facts({"batch": batch.pk, "name": batch.name, "jobs": f"{batch.total:,}", **counts})
    complaint, code = "", 0
    for state, its_code in ((JobState.DEAD, outcomes.DEAD), (JobState.CANCELLED, outcomes.CANCELLED)):
        if waited and not complaint and counts.get(state):
            complaint, code = f"{counts[state]:,} of {batch.total:,} {state}", its_code
    unfinished = sum(count for state, count in counts.items() if state not in FINAL)
    if waited and not complaint and unfinished:
        complaint, code = f"{unfinished:,} of {batch.total:,} not finished yet", outcomes.UNFINISHED
    data = {"id": str(batch.pk), "name": batch.name, "total": batch.total, "jobs": counts, "unfinished": unfinished}
    return Answer(data, lines, complaint, code or 1)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 1e9:
        raise ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds
