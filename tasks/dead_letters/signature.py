"""What makes two failures the same one: pure functions of what a dead letter says."""

import re
import uuid
from dataclasses import dataclass

MAX_READ_CHARS = 10_000
MAX_MESSAGE_CHARS = 500
MAX_FRAME_CHARS = 300

_GROUPS = uuid.UUID("5b0d2f63-6f0e-5f1c-8f53-0a6b7b6d7d11")  # the namespace; another would found all groups anew


@dataclass(frozen=True)
class Signature:
    """``kind`` is the exception's type, or the letter's reason where nothing was raised. ``message`` is normalised;
    ``frame``, like "shop/mail.py send", is the innermost of the team's own code, "" where it had no part in it."""

    task: str
    kind: str
    message: str
    frame: str

    @property
    def group_id(self) -> uuid.UUID:
        """The same in every process, so that nobody has to be asked for it."""
        return uuid.uuid5(_GROUPS, "\0".join((self.task, self.kind, self.message, self.frame)))


def signature_of(*, task: str, reason: str, error_type: str, error: str, traceback: str, root: str) -> Signature:
    """The signature of a failure. ``root`` is the project's directory; what lies in it is named without it."""
    return Signature(task, error_type or reason, normalised(error), innermost_own_frame(traceback, root))


# What differs from one failure to the next. In this order: a time is also numbers, a path may hold an identifier.
_PLACEHOLDERS = [
    (re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s'\"`<>)\]]*[^\s'\"`<>)\].,:;!?]", re.IGNORECASE), "<url>"),
    (
        re.compile(
            r"(?<![\w-])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![\w-])|\b[0-9a-f]{32}\b",
            re.IGNORECASE,
        ),
        "<uuid>",
    ),
    (re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}"), "<address>"),
    (  # not after a letter or digit: the apostrophes of "can't" and "won't" quote nothing
        re.compile(r"(?<!\w)[bru]?'[^'\n]*'(?!\w)|\"[^\"\n]*\"|`[^`\n]*`|“[^”\n]*”"),
        "<text>",
    ),
    (re.compile(r"=\([^)\n]*\)"), "=(<text>)"),  # PostgreSQL's "Key (email)=(…) already exists"
    (
        re.compile(
            r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},?\s+(?:\d{1,2}\s+)?"
            r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\s+\d{1,4}"
            r"(?:\s+\d{2}:\d{2}(?::\d{2})?)?(?:\s+\d{4})?"
            r"|\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:Z|\s?[+-]\d{2}:?\d{2})?)?"
            r"|\b\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\b(?!:)"
        ),
        "<time>",
    ),
    (
        re.compile(
            r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w.])|(?<![\w:])(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}(?![\w:])",
            re.IGNORECASE,
        ),
        "<address>",
    ),
    (
        re.compile(
            r"(?<![\w<./~-])(?:[A-Za-z]:)?(?:\.{1,2}|~)?(?:[\\/][\w.@+%~-]+)+[\\/]?"
            r"|(?<![\w./-])(?:[\w.@+%-]{1,100}/){1,20}[\w.@+%-]{1,100}\.[A-Za-z]\w{0,4}\b"
        ),
        "<path>",
    ),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]{0,200}\d)(?=\d{0,200}[a-f])[0-9a-f]{8,}\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"(?:(?<![\w)\]>])[-+])?\d+(?:[.,_]\d+)*"), "<number>"),
    (re.compile(r"(<[a-z]+>)(?:[\s,;|]+\1)+"), r"\1…"),  # two of a kind or two hundred
]


def normalised(error: str) -> str:
    """``error`` with a placeholder for each number, identifier, time, path, address and quoted value, in one line."""
    text = error[:MAX_READ_CHARS]
    for pattern, placeholder in _PLACEHOLDERS:
        text = pattern.sub(placeholder, text)
    return " ".join(text.split())[:MAX_MESSAGE_CHARS]


_FRAME = re.compile(r"^[ |+]*File \"([^\"\n]+)\", line \d+, in ([^\n]+)$", re.MULTILINE)
_NOT_OURS = re.compile(
    r"[\\/](?:site|dist)-packages[\\/]|[\\/]lib(?:64)?[\\/]python\d(?:\.\d+)?[\\/]|[\\/]Python\d+[\\/]Lib[\\/]|^<",
    re.IGNORECASE,
)
_CALLS_THE_TASK = ("tasks/worker/", "tasks/context.py")


def innermost_own_frame(traceback: str, root: str) -> str:
    """File and function of the last frame that is the team's own: no library's, none of Python's, and not the
    platform's way from the worker to the task. Without the line, which every edit above it moves."""
    for found in reversed(list(_FRAME.finditer(traceback))):
        path, function = found.groups()
        if _NOT_OURS.search(path):
            continue
        path = path.replace("\\", "/").removeprefix(root.replace("\\", "/").rstrip("/") + "/")
        if not path.startswith(_CALLS_THE_TASK):
            return f"{path} {function.strip()}"[-MAX_FRAME_CHARS:]
    return ""
