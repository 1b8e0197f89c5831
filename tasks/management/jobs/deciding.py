"""manage.py jobs cancel|replay ID …"""

from abc import abstractmethod
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from tasks import jobs
from tasks.errors import TaskPlatformError
from tasks.management.action import Action, Answer
from tasks.management.arguments import add_person
from tasks.management.jobs import outcomes
from tasks.management.jobs.following import watch_jobs
from tasks.management.jobs.watching import add_wait, job_id
from tasks.models import Job


class OneByOne(Action):
    """The same to each job that is named. Those that can not be are told, and keep none of the others."""

    done: str
    """What then has been done to a job."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", type=job_id, nargs="+", metavar="id")
        add_person(parser)

    @abstractmethod
    def act(self, id: UUID, options: dict[str, Any]) -> Job: ...

    def run(self, options: dict[str, Any]) -> Answer:
        told, lines = [], []
        for id in dict.fromkeys(options["ids"]):
            try:
                job = self.act(id, options)
            except Job.DoesNotExist:
                refusal = "there is no such job"
            except TaskPlatformError as error:
                refusal = str(error)
            else:
                told.append({"id": str(id), self.done: True, "state": job.state})
                lines.append(f"{id}  {self.done}; it is {job.state}")
                continue
            told.append({"id": str(id), self.done: False, "why": refusal})
            lines.append(f"{id}  not {self.done}: {refusal}")
        refused = sum(not each[self.done] for each in told)
        return Answer(told, lines, f"{refused} of {len(told)} not {self.done}" if refused else "")


class Cancel(OneByOne):
    help = "cancel jobs that wait, and ask those that run to stop at their next checkpoint"
    done = "cancelled"

    def act(self, id: UUID, options: dict[str, Any]) -> Job:
        return jobs.cancel(id, requested_by=options["by"])


class Replay(OneByOne):
    help = "try dead jobs again, as often as their policy says"
    done = "replayed"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--task", default="", help="as this task")
        parser.add_argument("--queue", default="", help="on this queue")
        add_wait(parser)

    def act(self, id: UUID, options: dict[str, Any]) -> Job:
        return jobs.replay(id, requested_by=options["by"], task=options["task"], queue=options["queue"])

    def run(self, options: dict[str, Any]) -> Answer:
        answer = super().run(options)
        replayed = [UUID(each["id"]) for each in answer.data if each[self.done]]
        if not options["wait"] or answer.complaint or not replayed:
            return answer
        return outcomes.waited(watch_jobs(replayed, seconds=options["seconds"]))
