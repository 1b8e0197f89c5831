"""What every action of `manage.py dead_letters` is, gives back and shows."""

import getpass
import uuid
from abc import ABC, abstractmethod
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tasks.models import DeadLetter, error_summary


@dataclass(frozen=True)
class Answer:
    """``data`` for scripts, ``lines`` for people, and the complaint that it ends with; empty: all was done."""

    data: Any
    lines: Iterable[str]
    complaint: str = ""


class Action(ABC):
    """One word after `manage.py dead_letters`. What ``run`` raises of the platform's errors becomes the complaint."""

    help: str

    @abstractmethod
    def add_arguments(self, parser: ArgumentParser) -> None: ...

    @abstractmethod
    def run(self, options: dict[str, Any]) -> Answer: ...


def add_person(parser: ArgumentParser) -> None:
    """The option that says who acts, for the job's history and the audit trail."""
    default = f"command:{getpass.getuser()}"
    parser.add_argument("--by", default=default, metavar="NAME", help=f"who asks for it ({default})")


def letter_id(text: str) -> uuid.UUID:
    """An argument that names a letter."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no id of a dead letter; `dead_letters list` prints them") from None


def as_dict(letter: DeadLetter) -> dict[str, Any]:
    """What a list tells of a letter."""
    return {
        "id": str(letter.pk),
        "job": str(letter.job_id) if letter.job_id else None,
        "attempt": letter.attempt,
        "state": letter.state,
        "reason": letter.reason,
        "task": letter.task,
        "queue": letter.queue,
        "error": error_summary(letter.error_type, letter.error),
        "died_at": letter.died_at.isoformat(),
    }
