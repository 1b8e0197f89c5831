"""manage.py jobs list"""

from argparse import ArgumentParser
from typing import Any

from tasks.job_lists import JobFilter, list_jobs
from tasks.management.action import Action, Answer
from tasks.management.arguments import add_limit
from tasks.management.jobs import outcomes
from tasks.management.jobs.submitting import moment
from tasks.management.jobs.watching import batch_id, job_id
from tasks.seeking import Cursor
from tasks.states import JobState


class List(Action):
    help = "those that match, the newest first"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--state", choices=JobState.values, default="")
        parser.add_argument("--task", default="", help="under any name that it has had")
        parser.add_argument("--queue", default="")
        parser.add_argument("--batch", type=batch_id, metavar="ID")
        parser.add_argument("--correlation-id", default="", metavar="ID")
        parser.add_argument("--requested-by", default="", metavar="NAME")
        parser.add_argument("--created-after", type=moment, metavar="TIME", help="this moment included")
        parser.add_argument("--created-before", type=moment, metavar="TIME", help="this moment not included")
        parser.add_argument("--after", type=job_id, metavar="ID", help="go on after this job of the list")
        add_limit(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        names = ("state", "task", "queue", "batch", "correlation_id", "requested_by", "created_after", "created_before")
        cursor = Cursor(options["after"]) if options["after"] else None
        wanted = JobFilter(**{name: options[name] for name in names})
        found = list_jobs(wanted, limit=options["limit"], cursor=cursor)
        lines = [outcomes.line(job) for job in found.rows] or ["no jobs"]
        following = str(found.next.key) if found.next else None
        if following:
            lines.append(f"… there may be more: --after {following}")
        return Answer({"items": [outcomes.summary(job) for job in found.rows], "next": following}, lines)
