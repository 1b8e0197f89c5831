"""Short texts, SMS and push alike, by whatever provider Apprise knows.

Apprise answers True or False and tells the rest to its log, which is where the reason is taken from.
"""

import json
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from django.conf import settings
from django.utils import timezone

from notifications.channels.base import AllRefused, Receipt
from tasks.api import PermanentError, RetryLater

_STATUS = re.compile(r"error=(\d{3})")
_LATER = (408, 425, 429)
_SHORTEST_SECRET = 4


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
        # Here, for a worker alone: the library costs a process some 20 MB.
        from apprise import Apprise, NotifyFormat

        provider = Apprise.instantiate(_addressed(url, recipient))
        if provider is None:
            variable = f"{self.name.upper()}_URLS"
            raise PermanentError(
                f"{variable} has an address that Apprise can not read, with {recipient!r} as recipient"
            )
        with _overheard() as said:
            taken = provider.notify(body=message.text, title=message.title, body_format=NotifyFormat.TEXT)
        if not taken:
            why = _without_secrets(" ".join(said) or "the provider did not take it and gave no reason", url)
            raise (PermanentError if _is_final(why) else RetryLater)(why)


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
    """``text`` without what of ``url`` may be a key: everything but its scheme."""
    parts = urlsplit(url)
    keys = {*re.split(r"[/:@?&=]", url.partition("://")[2])} - {parts.hostname or ""} if parts.scheme else set()
    for key in sorted(keys | {unquote(key) for key in keys}, key=len, reverse=True):
        if len(key) >= _SHORTEST_SECRET:
            text = text.replace(key, "***")
    return text[:1000]


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """What Apprise says in this thread, from warnings up."""
    said: list[str] = []
    thread = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                said.append(record.getMessage())

    listener, log = Listener(logging.WARNING), logging.getLogger("apprise")
    log.addHandler(listener)
    try:
        yield said
    finally:
        log.removeHandler(listener)


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
    name = f"{message.id}-{re.sub(r'[^A-Za-z0-9+_-]', '_', recipient)[:100]}.json"
    draft = directory / f".{name}"
    draft.write_text(json.dumps(entry, ensure_ascii=False, indent=2) + "\n", encoding="utf-8", errors="replace")
    draft.replace(directory / name)
