"""What people without the permission to unmask see of payloads, headers and errors.

Sensitive is what a task's model declares (tasks.api.Sensitive, Pydantic's SecretStr) and what is called so.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from itertools import pairwise
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, BaseModel, RootModel, SecretBytes, SecretStr
from typing_extensions import is_typeddict

from tasks.models import Job, LetterEdit
from tasks.registry import registry
from tasks.sensitive import Sensitive

MASK = "••••••"
MIN_HIDDEN_CHARS = 4
"""A shorter value is left in a text: `7` stands in too many of them for nothing."""

_SENSITIVE_WORDS = {
    "password", "passwords", "passwd", "pwd", "passphrase", "token", "tokens", "secret", "secrets", "authorization",
    "credential", "credentials", "cookie", "cookies", "apikey", "cvv", "cvc",
}  # fmt: skip
_SENSITIVE_PAIRS = {("api", "key"), ("private", "key"), ("access", "key"), ("signing", "key"), ("encryption", "key")}
MAX_EDITS = 100
_CREDENTIALS = re.compile(r"(?:basic|bearer|digest|token)\s+(\S{4,})", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def is_sensitive_name(name: str) -> bool:
    """Whether a field or header of this name is masked without a declaration: `password`, `apiKey`, `X-Auth-Token`."""
    words = [word.lower() for word in _WORD.findall(name)]
    return not _SENSITIVE_WORDS.isdisjoint(words) or not _SENSITIVE_PAIRS.isdisjoint(pairwise(words))


def is_declared_sensitive(model: type[BaseModel], path: Sequence[str]) -> bool:
    """Whether ``model`` declares what ``path`` leads to, or something on the way to it, as sensitive."""
    annotations: list[Any] = [model]
    for step in path:
        annotations = [inner for annotation in annotations for inner in _inside(annotation, step)]
        if any(map(_is_sensitive, annotations)):
            return True
    return False


class Mask:
    """Hides what is sensitive in the data of one letter or job, and then the same values in its texts.

    ``tasks``: as the payload of which tasks a payload is masked, besides the one that it is for.
    """

    def __init__(self, tasks: Iterable[str] = ()) -> None:
        self._hidden: set[str] = set()
        self._models = _models(tasks)

    def payload(self, task: str, payload: Any) -> Any:
        """A copy of ``payload`` with MASK in place of each sensitive value. An unknown task is masked by names."""
        return self._masked(payload, [*_models([task]), *self._models])

    def named(self, value: Any) -> Any:
        """A copy of ``value``, headers say, masked by names alone."""
        return self._masked(value, [])

    def anywhere(self, value: Any) -> Any:
        """A copy of ``value``, a result say, masked by names, and without the values that were hidden so far."""
        return self._repeated(self.named(value))

    def text(self, text: str) -> str:
        """``text`` without the values that were hidden so far: errors like to quote what they choke on."""
        for value in sorted(self._hidden, key=len, reverse=True):
            text = text.replace(value, MASK)
        return text

    @property
    def hides(self) -> bool:
        """Whether anything was hidden so far."""
        return bool(self._hidden)

    def _repeated(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._repeated(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._repeated(item) for item in value]
        return self.text(value) if isinstance(value, str) else value

    def _masked(self, value: Any, annotations: Sequence[Any]) -> Any:
        if any(map(_is_sensitive, annotations)):
            return self._hide(value)
        if isinstance(value, Mapping):
            return {
                name: self._hide(item) if is_sensitive_name(str(name)) else self._step(str(name), item, annotations)
                for name, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._step(str(place), item, annotations) for place, item in enumerate(value)]
        return value

    def _step(self, step: str, value: Any, annotations: Sequence[Any]) -> Any:
        return self._masked(value, [inner for annotation in annotations for inner in _inside(annotation, step)])

    def _hide(self, value: Any) -> Any:
        if value is None or value == "":
            return value  # that there is none is worth knowing
        for text in _texts(value):
            if len(text) >= MIN_HIDDEN_CHARS:
                self._hidden.update(_spellings(text))
        return MASK


def mask_of(job: Job) -> Mask:
    """One that knows already what the job's metadata and payload hide, and what each payload that it had before an edit
    did. What one of the tasks it was run as declares sensitive stays so, whatever it is replayed as."""
    edits = list(
        LetterEdit.objects.filter(letter__job=job)
        .order_by("-id")
        .values_list("task", "payload", "letter__payload")[:MAX_EDITS]
    )
    died_as = job.dead_letters.order_by("task").values_list("task", flat=True).distinct()
    mask = Mask({job.task, *died_as, *(task for task, _, _ in edits)})
    for payload in (job.payload, *(payload for _, *payloads in edits for payload in payloads)):
        mask.payload(job.task, payload)
    mask.named(job.metadata)
    return mask


def _models(tasks: Iterable[str]) -> list[type[BaseModel]]:
    return [registry.get(task).payload for task in tasks if task in registry]


def _spellings(text: str) -> set[str]:
    """How a text may quote ``text``: as it is, as Python and JSON write it, and a header's credentials alone."""
    plain = {text, *_CREDENTIALS.findall(text)}
    return {spelled for each in plain for spelled in (each, repr(each)[1:-1], json.dumps(each)[1:-1])}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif not isinstance(value, (bool, type(None))):
        yield str(value)


# What a model's annotations say of the places in a payload.


def _is_sensitive(annotation: Any) -> bool:
    return any(kind is Sensitive or kind in (SecretStr, SecretBytes) for kind in _kinds(annotation))


def _kinds(annotation: Any) -> Iterator[Any]:
    """Which types a value may have; Sensitive stands for whatever is declared to be."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from [Sensitive] if _says_sensitive(parts[1:]) else _kinds(parts[0])
    elif origin in (Union, UnionType):
        for part in parts:
            yield from _kinds(part)
    elif hasattr(annotation, "__value__"):  # type Name = …
        yield from _kinds(annotation.__value__)
    elif _is_class(annotation, RootModel):
        yield from _kinds(_fields(annotation)["root"])
    else:
        yield annotation


def _says_sensitive(metadata: Iterable[Any]) -> bool:
    return any(each is Sensitive or isinstance(each, Sensitive) for each in metadata)


def _inside(annotation: Any, step: str) -> Iterator[Any]:
    """The annotations of what ``step``, a name or a place in a list, may lead to."""
    for kind in _kinds(annotation):
        origin, parts = get_origin(kind), get_args(kind)
        if _is_class(kind, BaseModel) or is_dataclass(kind) or is_typeddict(kind):
            if step in (fields := _fields(kind)):
                yield fields[step]
        elif _is_class(origin, Mapping):
            yield from parts[1:]
        elif _is_class(origin, Collection):
            yield from parts


def _is_class(kind: Any, base: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


@cache
def _fields(kind: Any) -> dict[str, Any]:
    """Each name that a payload may have, with its annotation."""
    if not _is_class(kind, BaseModel):
        return get_type_hints(kind, include_extras=True)
    found: dict[str, Any] = {}
    for name, about in kind.model_fields.items():
        alias = about.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        for known_as in (name, about.alias, about.serialization_alias, *choices):
            if isinstance(known_as, str):
                found[known_as] = Sensitive if _says_sensitive(about.metadata) else about.annotation
    return found
