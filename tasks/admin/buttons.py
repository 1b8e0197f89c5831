"""What a page lets people do. A button that is of no use to somebody stays where it is, and says why."""

from dataclasses import dataclass
from typing import Literal

from tasks.permissions import User, missing


@dataclass(frozen=True)
class Button:
    """A way to ``url``, where the act is asked for and confirmed; with ``why_not``, there is none. One that ``posts``
    acts at once: it is for what the next button takes back."""

    text: str
    icon: str
    url: str
    why_not: str = ""
    kind: Literal["", "primary", "danger"] = ""
    posts: bool = False


def button(
    user: User,
    *verbs: str,
    text: str,
    icon: str,
    url: str,
    kind: Literal["", "primary", "danger"] = "",
    unless: str = "",
    posts: bool = False,
) -> Button:
    """A button for whoever has the rights to ``verbs`` (permissions.RIGHTS). ``unless`` says what else stands against
    it: the state of the letter, say."""
    return Button(text, icon, url, missing(user, *verbs) or unless, kind, posts)
