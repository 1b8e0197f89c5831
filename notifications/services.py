"""Build the message, and see it through until nobody is left waiting."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from email.utils import parseaddr
from functools import partial
from hashlib import sha256
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.utils.encoding import punycode

from notifications.channels.base import AllRefused, Channel, Receipt
from notifications.channels.email import Email
from notifications.channels.text import Text
from notifications.plain_text import text_from_html
from tasks.api import PermanentError, RetryLater

Sendable = TypeVar("Sendable", Email, Text)

Once = Callable[[str, Callable[[], Any]], Any]
"""JobContext.once: do it unless an earlier attempt did, and return what it returned."""


def compose(*, job_id: UUID, to: Sequence[str], cc: Sequence[str], subject: str, text: str, html: str | None) -> Email:
    """The e-mail of one job. Its Message-ID is the same in every attempt, on every host: receivers know it again."""
    sender = settings.DEFAULT_FROM_EMAIL
    domain = punycode(parseaddr(sender)[1].rpartition("@")[2])
    return Email(
        message_id=f"<{job_id}@{domain}>",
        sender=sender,
        to=tuple(to),
        cc=tuple(cc),
        recipients=tuple(dict.fromkeys([*to, *cc])),
        subject=subject,
        text=text if text.strip() else text_from_html(html or ""),
        html=html,
    )


def deliver(message: Email, channel: Channel[Email], once: Once) -> Receipt:
    """Send ``message`` to each recipient exactly once, over as many attempts as it takes.

    A server may accept some recipients and put others off. Each round is remembered by ``once``, so that a later
    attempt, or a replay, sends only to those still waiting. Recipients refused for good beside accepted ones are no
    failure of the job: the receipt names them. Raises what the channel raises.
    """
    accepted: list[str] = []
    refused: dict[str, str] = {}
    for number in count(1):
        waiting = tuple(address for address in message.recipients if address not in accepted and address not in refused)
        if not waiting:
            break
        effect = partial(_send, channel, replace(message, recipients=waiting))
        try:
            # Those put off are asked about again at once, which settles "too many recipients"; a greylist raises.
            done = once("send" if number == 1 else f"send {number}", effect)
        except AllRefused as error:
            if not accepted:
                raise
            done = {"accepted": [], "refused": error.refused}
        except (RetryLater, PermanentError) as error:
            if accepted:
                error.args = (f"{error} (these have it already: {', '.join(accepted)})",)
            raise
        accepted += done["accepted"]
        refused |= done["refused"]
    return Receipt(accepted=accepted, refused=refused)


def deliver_each(message: Text, channel: Channel[Text], once: Once) -> Receipt:
    """Send ``message`` to each recipient by itself, exactly once over as many attempts as it takes.

    Each is a call of its own to the provider, and fifty can take longer than an attempt may: what is remembered one by
    one is not sent again by the next. Recipients refused for good beside accepted ones are no failure of the job.
    Raises RetryLater while somebody is put off, AllRefused where nobody is accepted.
    """
    accepted: list[str] = []
    refused: dict[str, str] = {}
    put_off: list[str] = []
    for recipient in message.recipients:
        # A digest, since a key has 200 characters and a push service's recipient may have more.
        key = f"send {sha256(recipient.encode()).hexdigest()}"
        try:
            once(key, partial(_send, channel, replace(message, recipients=(recipient,))))
        except AllRefused as error:
            refused |= error.refused
        except RetryLater as error:
            put_off.append(str(error))
        else:
            accepted.append(recipient)
    if put_off:
        done = f" (these have it already: {', '.join(accepted)})" if accepted else ""
        raise RetryLater("; ".join(put_off) + done)
    if not accepted:
        raise AllRefused(refused)
    return Receipt(accepted=accepted, refused=refused)


def _send(channel: Channel[Sendable], message: Sendable) -> dict[str, Any]:
    return asdict(channel.send(message))
