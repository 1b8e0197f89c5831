"""A payload that was shown masked comes back edited: what was left masked keeps its value, and no mask is stored."""

import json
from dataclasses import dataclass, field
from typing import Any

from tasks.dead_letters.diffing import ABSENT, Path
from tasks.dead_letters.masking import MASK


@dataclass
class Filled:
    """``value`` with what the masks stood for. ``kept`` are the places where that was clear; ``unclear`` those where a
    mask is left: it was moved, or only a part of a text."""

    value: Any = None
    kept: list[Path] = field(default_factory=list)
    unclear: list[Path] = field(default_factory=list)


def filled(typed: Any, *, shown: Any, original: Any) -> Filled:
    """``typed``, where ``original`` had been ``shown`` with masks in it.

    A mask stands for what was in its place. In a list that is clear only while the list is as long as it was, and no
    more than one of the items that hold masks was changed: else they may have changed places.
    """
    found = Filled()
    found.value = _filled(typed, shown, original, (), found)
    return found


def _filled(typed: Any, shown: Any, original: Any, path: Path, found: Filled) -> Any:
    if isinstance(typed, dict):
        return {
            name: _filled(item, _at(shown, name), _at(original, name), (*path, name), found)
            for name, item in typed.items()
        }
    if isinstance(typed, list):
        told = [shown[place] if _are_in_place(typed, shown) else ABSENT for place in range(len(typed))]
        return [
            _filled(item, told[place], original[place] if told[place] is not ABSENT else ABSENT, (*path, place), found)
            for place, item in enumerate(typed)
        ]
    if not isinstance(typed, str) or MASK not in typed:
        return typed
    if typed == shown:
        if typed != original:
            found.kept.append(path)
        return original
    found.unclear.append(path)
    return typed


def _are_in_place(typed: list[Any], shown: Any) -> bool:
    if not isinstance(shown, list) or len(shown) != len(typed):
        return False
    changed = [
        place
        for place, item in enumerate(typed)
        if _text(item) != _text(shown[place]) and (MASK in _text(item) or MASK in _text(shown[place]))
    ]
    return len(changed) <= 1


def _at(value: Any, name: str) -> Any:
    return value.get(name, ABSENT) if isinstance(value, dict) else ABSENT


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
