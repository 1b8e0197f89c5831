"""Short texts, SMS and push alike, by whatever provider Apprise knows.

Apprise answers True or False and tells the rest to its log, which is where the reason is taken from. That log quotes
addresses and recipients, so it goes nowhere else.
"""

import json
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from django.conf import settings
from django.utils import timezone

from notifications.channels.base import AllRefused, Receipt
from tasks.api import PermanentError, RetryLater

_STATUS = re.compile(r"error=(\d{3})")
_LATER = (408, 425, 429)
_SHORTEST_SECRET = 4
_HOST_NAME = re.compile(r"localhost|\d+(\.\d+){3}|([a-z0-9-]+\.)+[a-z]{2,24}")
_HEARD = (logging.WARNING, logging.ERROR, logging.CRITICAL)  # between them is Apprise's level for what is deprecated
_EXAMPLES = ("+12025550123", "12345678", "phone-1")

_log = logging.getLogger("apprise")
_log.propagate = False
_log.addHandler(logging.NullHandler())


@dataclass(frozen=True, kw_only=True)
class Text:
    """One text for each of ``recipients``. ``id`` is the job's: a file of the outbox is named by it."""

    id: str
    recipients: tuple[str, ...]
    title: str
    text: str


@dataclass(frozen=True)
class TextChannel:
    """Channel[Text]. ``urls`` are tried in turn for each recipient, until one of them takes the text.

    ``name`` is the channel's word for people and the outbox: sms, push.
    """

    name: str
    urls: Sequence[str]

    def send(self, message: Text) -> Receipt:
        accepted: list[str] = []
        refused: dict[str, str] = {}
        put_off: dict[str, str] = {}
        for recipient in message.recipients:
            try:
                self._send_to(recipient, message)
            except PermanentError as error:
                refused[recipient] = str(error)
            except RetryLater as error:
                put_off[recipient] = str(error)
            else:
                accepted.append(recipient)
        if accepted:
            return Receipt(accepted=accepted, refused=refused)
        if put_off:
            raise RetryLater("; ".join(f"{recipient} was put off: {why}" for recipient, why in put_off.items()))
        raise AllRefused(refused)

    def _send_to(self, recipient: str, message: Text) -> None:
        """Raises what the provider that was asked last means: it may know what the others do not."""
        error: PermanentError | RetryLater | None = None
        for url in self.urls:
            try:
                return self._hand_over(url, recipient, message)
            except (PermanentError, RetryLater) as failure:
                # One that may still take it counts more than one that never will.
                error = error if isinstance(error, RetryLater) and isinstance(failure, PermanentError) else failure
        assert error is not None, "env.py lets no empty list pass"
        raise error

    def _hand_over(self, url: str, recipient: str, message: Text) -> None:
        if url.startswith("file://"):
            return _write(settings.OUTBOX_DIR / self.name, recipient, message)
        from apprise import NotifyFormat

        with _overheard() as said:
            provider = _instantiate(_addressed(url, recipient))
            if provider is None:
                variable = f"{self.name.upper()}_URLS"
                raise PermanentError(
                    f"{variable} has an address that Apprise can not read, with {recipient!r} as recipient"
                )
            if said:  # a recipient that it does not understand, which no later attempt will change
                raise PermanentError(_without_secrets(" ".join(said), url))
            taken = provider.notify(body=message.text, title=message.title, body_format=NotifyFormat.TEXT)
        if not taken:
            why = " ".join(said) or "the provider did not take it and gave no reason"
            raise (PermanentError if _is_final(why) else RetryLater)(_without_secrets(why, url))


def is_readable(url: str) -> bool:
    """Whether Apprise makes sense of ``url``, by itself or with a recipient of some kind. Asks nobody."""
    if url.startswith("file://"):
        return True
    with _overheard():
        return any(_instantiate(each) is not None for each in (url, *(_addressed(url, to) for to in _EXAMPLES)))


def _instantiate(url: str) -> Any:
    from apprise import Apprise  # here, since it costs a process some 20 MB

    return Apprise.instantiate(url)


def _addressed(url: str, recipient: str) -> str:
    """Apprise's addresses have recipients as the last part of their path."""
    address, mark, options = url.partition("?")
    return f"{address.rstrip('/')}/{quote(recipient, safe='+@')}{mark}{options}"


def _is_final(why: str) -> bool:
    """Whether the provider's status means never: 4xx does, but for those that mean later."""
    found = _STATUS.search(why)
    status = int(found[1]) if found else 0
    return 400 <= status < 500 and status not in _LATER


def _without_secrets(text: str, url: str) -> str:
    """``text`` without what of ``url`` may be a key: all but its scheme, and its host where that is a name. Some
    providers have a key in the host's place."""
    rest = url.partition("://")[2]
    host = re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")[2].partition(":")[0]
    keys = set(re.split(r"[/:@?&=,;]", rest))
    if _HOST_NAME.fullmatch(host):
        keys.discard(host)
    for key in sorted(keys | {unquote(key) for key in keys}, key=len, reverse=True):
        if len(key) >= _SHORTEST_SECRET:
            text = re.sub(re.escape(key), "***", text, flags=re.IGNORECASE)
    return text[:1000]


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """What goes wrong in this thread, in Apprise's words."""
    said: list[str] = []
    thread = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread and record.levelno in _HEARD:
                said.append(record.getMessage())

    listener = Listener(logging.WARNING)
    _log.addHandler(listener)
    try:
        yield said
    finally:
        _log.removeHandler(listener)


def _write(directory: Path, recipient: str, message: Text) -> None:
    """A file for each recipient; the same message again replaces it."""
    directory.mkdir(parents=True, exist_ok=True)
    entry: dict[str, Any] = {
        "id": message.id,
        "at": timezone.now().isoformat(),
        "to": recipient,
        "title": message.title,
        "text": message.text,
    }
    # The digest tells apart those whose names are the same but for what a file can not be called.
    digest = sha256(recipient.encode()).hexdigest()[:8]
    name = f"{message.id}-{re.sub(r'[^A-Za-z0-9+_-]', '_', recipient)[:100]}-{digest}.json"
    draft = directory / f".{name}"
    draft.write_text(json.dumps(entry, ensure_ascii=False, indent=2) + "\n", encoding="utf-8", errors="replace")
    draft.replace(directory / name)
