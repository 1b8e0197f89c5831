"""manage.py dead_letters replay"""

from argparse import ArgumentParser
from typing import Any

from tasks.dead_letters import replaying
from tasks.errors import TaskPlatformError
from tasks.management.dead_letters.action import Action, Answer, add_person, letter_id
from tasks.models import DeadLetter


class Replay(Action):
    help = "try letters again, one by one; those that can not be are told, and keep none of the others"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", type=letter_id, nargs="+", metavar="id")
        add_person(parser)

    def run(self, options: dict[str, Any]) -> Answer:
        told, lines = [], []
        for id in dict.fromkeys(options["ids"]):
            try:
                letter = replaying.replay(id, requested_by=options["by"])
            except DeadLetter.DoesNotExist:
                refusal = "there is no such dead letter"
            except TaskPlatformError as error:  # the broker may be away for one and back for the next
                refusal = str(error)
            else:
                job = str(letter.job_id) if letter.job_id else None
                told.append({"id": str(id), "replayed": True, "job": job})
                lines.append(f"{id}  replayed" + (f" as job {job}" if job else ""))
                continue
            told.append({"id": str(id), "replayed": False, "why": refusal})
            lines.append(f"{id}  not replayed: {refusal}")
        refused = sum(not each["replayed"] for each in told)
        return Answer(told, lines, f"{refused} of {len(told)} not replayed" if refused else "")
