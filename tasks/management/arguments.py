"""Arguments that several commands take."""

import os
import pwd
import sys
import uuid
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from django.core.management.base import CommandError

from tasks.audit import MAX_REASON


def account() -> str:
    """Who has started this process, by its account on this machine. A container's may have no name."""
    try:
        return f"command:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"command:{os.getuid()}"


def add_person(parser: ArgumentParser) -> None:
    """The option that says who acts, for the job's history and the audit trail."""
    parser.add_argument("--by", default=account(), metavar="NAME", help="who asks for it (%(default)s)")


def add_reason(parser: ArgumentParser, why: str = "why") -> None:
    parser.add_argument("--reason", default="", metavar="TEXT", help=f"{why}, {MAX_REASON} characters at most")


def add_limit(parser: ArgumentParser, default: int = 50) -> None:
    parser.add_argument("--limit", type=_limit, default=default, metavar="N", help="how many at most (%(default)s)")


def add_file(parser: ArgumentParser, what: str) -> None:
    parser.add_argument("file", nargs="?", default="-", help=f"a file with {what}; - is standard input (%(default)s)")


def read_file(name: str) -> str:
    """Its text. Raises CommandError."""
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return raw.decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"{name} is not encoded as UTF-8: {error}; save it so") from None
    except OSError as error:
        raise CommandError(f"{name} can not be read: {error.strerror}; name a file, or - for standard input") from None


def id_of(what: str, printed_by: str) -> Callable[[str], uuid.UUID]:
    """An argument that names one of them."""

    def read(text: str) -> uuid.UUID:
        try:
            return uuid.UUID(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is no id of {what}; `{printed_by}` prints them") from None

    return read


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise ArgumentTypeError(f"{text!r} is no number from 1 to 10,000")
    return int(text)
