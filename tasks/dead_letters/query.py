"""What an operator asks for, as text or as a dict, in parts that are known to be right. No database."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.utils.dateparse import parse_date, parse_datetime

from tasks.dead_letters.masking import is_declared_sensitive, is_sensitive_name
from tasks.errors import InvalidQuery
from tasks.models import DeadLetter
from tasks.registry import registry

MAX_QUERY_CHARS = 2000
MAX_WORDS = 20
MAX_STEPS = 20
MAX_PLACES = 4  # each is read in two ways
FIELDS = ("task", "queue", "reason", "group", "release", "state", "before", "after")
ANY_STATE = "all"
_PATH = "data."

_AGO = re.compile(r"(\d{1,6})\s*(min|m|h|d|w)")
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_TOKEN = re.compile(r'(?:"[^"]*"|[^\s"])+')
_NAME = re.compile(r"[a-z][a-z_]*|data\.[^\s\"]+")
_WORD = re.compile(r"[0-9A-Za-z\u0080-\U0010FFFF]+")  # as the index splits them: migration 0005


class Place(NamedTuple):
    """A value somewhere in the payload. A number in ``path`` is a key as well as a place in a list."""

    path: tuple[str, ...]
    values: tuple[Any, ...]
    """Any of them: what was typed may be a number or a text."""


@dataclass(frozen=True)
class Query:
    """Every part must hold; of several values of one part, any."""

    words: tuple[str, ...] = ()
    ids: tuple[UUID, ...] = ()
    """Of letters or of jobs."""
    tasks: tuple[str, ...] = ()
    """"mail.*" stands for all that begin so."""
    queues: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    groups: tuple[UUID, ...] = ()
    releases: tuple[str, ...] = ()
    state: str = ""
    """"" where none was asked for."""
    before: datetime | None = None
    after: datetime | None = None
    places: tuple[Place, ...] = ()


def read(query: str | Mapping[str, Any], *, now: datetime) -> Query:
    """``query`` understood: words, and `name:value` with one of FIELDS or a path of the payload, `data.customer.id:42`.

    Quotes keep blanks together: `queue:"my queue"`. A dict has the same names, and the words as "text"; a value may be
    a list. ``before`` and ``after`` are moments in ISO 8601 (UTC unless they say) or how long ago: "30min", "2h", "3d",
    "1w". Raises InvalidQuery.
    """
    asked = _split(query) if isinstance(query, str) else [(name, value) for name, value in query.items()]
    problems: list[dict[str, str]] = []
    parts: dict[str, list[Any]] = {}
    places: list[Place] = []
    for name, value in asked:
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        try:
            if name.startswith(_PATH):
                places.append(_place(name, values))
            else:
                parts.setdefault(name, []).extend(_known(name, each, now) for each in values)
        except ValueError as error:
            problems.append({"field": name, "message": str(error)})
    for name in ("before", "after", "state"):
        if len(parts.get(name, [])) > 1:
            problems.append({"field": name, "message": "is given more than once; give it once"})
    words = [word for words in parts.get("text", []) for word in words]
    if len(words) > MAX_WORDS:
        problems.append({"field": "text", "message": f"has {len(words)} words; give {MAX_WORDS} at most"})
    if problems:
        raise InvalidQuery(problems)
    return Query(
        words=tuple(word for word in words if isinstance(word, str)),
        ids=tuple(word for word in words if isinstance(word, UUID)),
        tasks=tuple(parts.get("task", ())),
        queues=tuple(parts.get("queue", ())),
        reasons=tuple(parts.get("reason", ())),
        groups=tuple(parts.get("group", ())),
        releases=tuple(parts.get("release", ())),
        state=next(iter(parts.get("state", ())), ""),
        before=next(iter(parts.get("before", ())), None),
        after=next(iter(parts.get("after", ())), None),
        places=tuple(places),
    )


def up_to(query: str | Mapping[str, Any], moment: str) -> str | dict[str, Any]:
    """``query`` without what dies after ``moment``, in ISO 8601, and with what is relative to now relative to that:
    what somebody has looked at is what it finds later. As it is where it can not be understood."""
    asked = query if isinstance(query, str) else dict(query)
    try:
        found = read(query, now=_moment(moment, datetime.now(UTC)))
    except (InvalidQuery, ValueError):
        return asked
    bounds = {"before": found.before.isoformat() if found.before else moment}
    if found.after:
        bounds["after"] = found.after.isoformat()
    if not isinstance(asked, str):
        return {**asked, **bounds}
    for name, at in bounds.items():
        asked = with_values(asked, name, [at])
    return asked


def as_dict(query: str | Mapping[str, Any]) -> dict[str, Any]:
    """The query in its dict form, to be kept as JSON; not checked. What is relative to now stays so."""
    if not isinstance(query, str):
        return dict(query)
    asked: dict[str, Any] = {}
    for name, value in _split(query):
        asked[name] = [*asked[name], value] if name in asked else [value]
    return {name: values[0] if len(values) == 1 else values for name, values in asked.items()}


def values_of(text: str, name: str) -> list[str]:
    """What ``text`` asks for under ``name``, as it stands there; nothing where it can not be understood."""
    try:
        return [value for known_as, value in _split(text) if known_as == name]
    except InvalidQuery:
        return []


def with_values(text: str, name: str, values: Iterable[str]) -> str:
    """``text``, asking for these ``values`` under ``name`` and for no others; the rest of it stays as it was typed."""
    is_whole = text.count('"') % 2 == 0  # what lacks a quote is left as it is: its parts can not be told apart
    kept = [token for token in _TOKEN.findall(text) if _named(token)[0] != name] if is_whole else [text]
    quoted = (f'"{value}"' if re.search(r"\s", value) else value for value in values)
    return " ".join([*kept, *(f"{name}:{value}" for value in quoted)])


def _split(text: str) -> Iterable[tuple[str, str]]:
    if len(text) > MAX_QUERY_CHARS:
        raise InvalidQuery(
            [{"field": "query", "message": f"is longer than {MAX_QUERY_CHARS:,} characters; shorten it"}]
        )
    if text.count('"') % 2:
        raise InvalidQuery([{"field": "query", "message": 'has a " without its second; add it'}])
    return [_named(token) for token in _TOKEN.findall(text)]


def _named(token: str) -> tuple[str, str]:
    name, _, value = token.partition(":")
    if _NAME.fullmatch(name) and value and not value.startswith("//"):  # no address
        return name, value.replace('"', "")
    return "text", token.replace('"', "")


def _known(name: str, value: Any, now: datetime) -> Any:
    if name != "text" and name not in FIELDS:
        there_are = ", ".join((*FIELDS, "data.<path>"))
        raise ValueError(f"is no field; there are {there_are}. Put text with a colon in quotes")
    text = str(value).strip() if not isinstance(value, datetime) else value.isoformat()
    _check_storable(text)
    if not text:
        raise ValueError("has no value; give one or leave it out")
    match name:
        case "text":
            return _words(text)
        case "group":
            return _uuid(text)
        case "reason":
            return _one_of(text, DeadLetter.Reason.values)
        case "state":
            return _one_of(text, [*DeadLetter.State.values, ANY_STATE])
        case "before" | "after":
            return _moment(text, now)
        case "task" if "*" in text.removesuffix("*"):
            raise ValueError("has a * before its end; only the last character may be one, as in mail.*")
    return text


def _words(text: str) -> list[str | UUID]:
    try:
        return [UUID(text)]
    except ValueError:
        words: list[str | UUID] = list(_WORD.findall(text))
    if not words:
        raise ValueError(f"{text!r} has no letter or digit to look for; leave it out")
    return words


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError(f"{text[:80]!r} is no id; copy the group's from its page") from None


def _one_of(text: str, allowed: Iterable[str]) -> str:
    if text not in allowed:
        raise ValueError(f"{text[:80]!r} is unknown; there are {', '.join(allowed)}")
    return text


def _moment(text: str, now: datetime) -> datetime:
    if ago := _AGO.fullmatch(text):
        try:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError:
            raise ValueError(f"{text!r} is before all time; give less") from None
    try:
        day = parse_date(text)
        moment = datetime.combine(day, time()) if day else parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise ValueError(f"{text[:80]!r} is no moment; write 2026-03-01, 2026-03-01T12:30 (UTC), or 30min, 2h, 3d, 1w")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _place(name: str, values: list[Any]) -> Place:
    path = tuple(name.removeprefix(_PATH).split("."))
    _check_storable(name)
    if not all(path):
        raise ValueError("has an empty step; write data.customer.id:42")
    if len(path) > MAX_STEPS or sum(step.isdecimal() for step in path) > MAX_PLACES:
        raise ValueError(f"goes too deep; give {MAX_STEPS} steps at most, {MAX_PLACES} of them numbers")
    if _is_masked(path):
        raise ValueError("is masked, and what is masked can not be searched for")
    found: list[Any] = []
    for value in values:
        _check_storable(str(value))
        found += _readings(value) if isinstance(value, str) else [value]
    if not found or any(isinstance(value, (dict, list)) for value in found):
        raise ValueError("is compared with one value; write data.customer.id:42")
    return Place(path, tuple(found))


def _is_masked(path: tuple[str, ...]) -> bool:
    return any(map(is_sensitive_name, path)) or any(is_declared_sensitive(spec.payload, path) for spec in registry)


def _readings(text: str) -> list[Any]:
    """What was typed as text, and as what else it may stand in JSON."""
    words: dict[str, Any] = {"true": True, "false": False, "null": None}
    if text in words:
        return [text, words[text]]
    if re.fullmatch(r"-?\d{1,18}", text):
        return [text, int(text)]
    if re.fullmatch(r"-?\d{1,15}\.\d{1,15}", text):
        return [text, float(text)]
    return [text]


def _check_storable(text: str) -> None:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("holds a character that no database keeps; leave it out")
