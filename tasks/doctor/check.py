"""What a check is, and what it can say."""

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

PAGE = "docs/operations.md"


@dataclass(frozen=True)
class Finding:
    """Something unsafe, and what to do about it."""

    what: str
    remedy: str


@dataclass(frozen=True)
class Unknown:
    """Something that could not be asked, and how it could. Never as good as ok."""

    what: str
    remedy: str


@dataclass(frozen=True)
class Check:
    """A question whose answers are problems; no problem is ok, and ``fine`` says what was found to be so.

    ``name`` is also its heading in docs/operations.md. While a check that it ``needs`` has a problem, it is not asked.
    """

    name: str
    fine: str
    ask: Callable[[], Iterable[Finding | Unknown]]
    needs: tuple[str, ...] = ()


class Status(StrEnum):
    OK = "ok"
    UNKNOWN = "unknown"
    FINDING = "finding"


@dataclass(frozen=True)
class Result:
    """One problem of a check, or its being ok; with the link, the keys of ``--json``."""

    check: str
    status: Status
    what: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        return {**asdict(self), "link": link(self.check)}


def link(check: str) -> str:
    """Where to read on, in this repository."""
    return f"{PAGE}#{check}"


def in_one_line(error: Exception) -> str:
    """What an exception says, without the logins that URLs in it may carry."""
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    return re.sub(r"://[^/\s]*@", "://", first).rstrip(".")
