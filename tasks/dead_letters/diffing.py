"""What differs between two JSON values, field by field."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Mask = Callable[[str, Any], Any]
"""``mask(task, payload)``: the payload in its shape, with what is sensitive of that task's made unreadable."""

Path = tuple[str | int, ...]


class _Absent:
    """No such field, which is not null."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()


@dataclass(frozen=True)
class Change:
    """One field that differs; ``before`` or ``after`` is ABSENT where it is there on one side alone."""

    path: Path
    before: Any
    after: Any

    @property
    def field(self) -> str:
        """Like ``to.0``; empty where the whole is not the same kind of value any more."""
        return ".".join(map(str, self.path))

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        if self.before is ABSENT:
            return "added"
        return "removed" if self.after is ABSENT else "changed"

    def as_dict(self) -> dict[str, Any]:
        """As JSON, without the side that is absent."""
        sides = {name: value for name, value in (("before", self.before), ("after", self.after)) if value is not ABSENT}
        return {"field": self.field, "kind": self.kind, **sides}


def changes(before: Any, after: Any, path: Path = ()) -> Iterator[Change]:
    """Objects are compared by key and lists by index, in the order of ``before``; what is new comes last."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from changes(before.get(key, ABSENT), after.get(key, ABSENT), (*path, key))
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            yield from changes(_item(before, index), _item(after, index), (*path, index))
    elif type(before) is not type(after) or before != after:  # to Python, true is 1
        yield Change(path, before, after)


def at(value: Any, path: Path) -> Any:
    """What stands at ``path``; where something on the way there is masked as a whole, that."""
    for key in path:
        if isinstance(value, dict):
            value = value.get(key, ABSENT)
        elif isinstance(value, list) and isinstance(key, int):
            value = _item(value, key)
        else:
            break
    return value


def _item(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else ABSENT
