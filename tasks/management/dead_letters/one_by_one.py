"""manage.py dead_letters replay|discard|restore ID …"""

from abc import abstractmethod
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from tasks.dead_letters import discarding, replaying
from tasks.errors import InvalidReason, TaskPlatformError
from tasks.management.action import Action, Answer
from tasks.management.arguments import add_person, add_reason
from tasks.management.dead_letters.arguments import add_target, letter_id
from tasks.models import DeadLetter


class OneByOne(Action):
    """The same to each letter that is named. Those that can not be are told, and keep none of the others."""

    done: str
    """What a letter then is."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", type=letter_id, nargs="+", metavar="id")
        add_person(parser)

    @abstractmethod
    def act(self, id: UUID, options: dict[str, Any]) -> DeadLetter: ...

    def run(self, options: dict[str, Any]) -> Answer:
        told, lines = [], []
        for id in dict.fromkeys(options["ids"]):
            try:
                letter = self.act(id, options)
            except DeadLetter.DoesNotExist:
                refusal = "there is no such dead letter"
            except InvalidReason:  # the same for all of them
                raise
            except TaskPlatformError as error:  # the broker may be away for one and back for the next
                refusal = str(error)
            else:
                job = str(letter.job_id) if letter.job_id else None
                told.append({"id": str(id), self.done: True, "job": job})
                lines.append(f"{id}  {self.done}{self.detail(letter)}")
                continue
            told.append({"id": str(id), self.done: False, "why": refusal})
            lines.append(f"{id}  not {self.done}: {refusal}")
        refused = sum(not each[self.done] for each in told)
        return Answer(told, lines, f"{refused} of {len(told)} not {self.done}" if refused else "")

    def detail(self, letter: DeadLetter) -> str:
        """What else to tell of one that is done."""
        return ""


class Replay(OneByOne):
    help = "try letters again, one by one; for all that match a query there is `operation start replay`"
    done = "replayed"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        add_target(parser)

    def act(self, id: UUID, options: dict[str, Any]) -> DeadLetter:
        return replaying.replay(id, requested_by=options["by"], task=options["task"], queue=options["queue"])

    def detail(self, letter: DeadLetter) -> str:
        return f" as job {letter.job_id}" if letter.job_id else ""


class Discard(OneByOne):
    help = "park letters that nobody wants; they can be restored for a while"
    done = "discarded"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        add_reason(parser, "why, which is needed")

    def act(self, id: UUID, options: dict[str, Any]) -> DeadLetter:
        return discarding.discard(id, requested_by=options["by"], reason=options["reason"])

    def detail(self, letter: DeadLetter) -> str:
        return f"; can be restored until {letter.delete_at:%Y-%m-%d %H:%M} UTC"


class Restore(OneByOne):
    help = "open discarded letters again, as they were"
    done = "restored"

    def act(self, id: UUID, options: dict[str, Any]) -> DeadLetter:
        return discarding.restore(id, requested_by=options["by"])
