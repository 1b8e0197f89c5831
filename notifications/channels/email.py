"""E-mail through Django's mail connection: what each SMTP reply means for the job."""

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import cast

from django.core.mail import BadHeaderError, EmailMultiAlternatives, get_connection
from django.core.mail.backends.smtp import EmailBackend
from django.core.mail.message import sanitize_address

from notifications.channels.base import AllRefused, Receipt
from tasks.api import PermanentError, RetryLater


@dataclass(frozen=True, kw_only=True)
class Email:
    """One e-mail. ``to`` and ``cc`` are what it shows, ``recipients`` are those it is now sent to."""

    message_id: str
    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    recipients: tuple[str, ...]
    subject: str
    text: str
    html: str | None


class EmailChannel:
    """Channel[Email]. A reply of 4xx means later, 5xx never (RFC 5321, 4.2.1)."""

    def send(self, message: Email) -> Receipt:
        connection = get_connection()
        if isinstance(connection, EmailBackend):
            return _converse(connection, message)
        with _as_outcome("the mail backend"):  # files, console, memory: they know no recipients
            connection.send_messages([_mime(message)])
        return Receipt(accepted=list(message.recipients), refused={})


def _converse(connection: EmailBackend, message: Email) -> Receipt:
    """Send over SMTP. The connection's own send_messages() would drop what sendmail() returns: whom it refused."""
    addresses = {sanitize_address(recipient, "utf-8"): recipient for recipient in message.recipients}
    with _as_outcome(f"{connection.host}:{connection.port}"):
        raw = _mime(message).message().as_bytes(linesep="\r\n")  # type: ignore[call-arg]  # Django's own as_bytes
        try:
            connection.open()
            client = cast(smtplib.SMTP, connection.connection)
            declined = client.sendmail(sanitize_address(message.sender, "utf-8"), list(addresses), raw)
        except smtplib.SMTPRecipientsRefused as error:
            said = {addresses[address]: _words(*reply) for address, reply in error.recipients.items()}
            if all(_is_permanent(code) for code, _ in error.recipients.values()):
                raise AllRefused(said) from error
            raise RetryLater("; ".join(f"{address} was put off: {words}" for address, words in said.items())) from error
        finally:
            with suppress(OSError):  # the server has the mail by now: a QUIT that fails must not send it again
                connection.close()
    refused = {address: reply for address, reply in declined.items() if _is_permanent(reply[0])}
    return Receipt(
        accepted=[recipient for address, recipient in addresses.items() if address not in declined],
        refused={addresses[address]: _words(*reply) for address, reply in refused.items()},
    )


def _mime(message: Email) -> EmailMultiAlternatives:
    mime = EmailMultiAlternatives(
        subject=message.subject,
        body=message.text,
        from_email=message.sender,
        to=message.to,
        cc=message.cc,
        headers={"Message-ID": message.message_id},
    )
    if message.html:
        mime.attach_alternative(message.html, "text/html")
    return mime


@contextmanager
def _as_outcome(server: str) -> Iterator[None]:
    """Turn what went wrong in the conversation into RetryLater or PermanentError, with the server's words."""
    try:
        yield
    except BadHeaderError as error:
        raise PermanentError(f"a header would hold a line break: {error}") from error
    except smtplib.SMTPResponseException as error:
        kind = PermanentError if _is_permanent(error.smtp_code) else RetryLater
        step = {
            smtplib.SMTPAuthenticationError: "to our login (EMAIL_URL holds user and password)",
            smtplib.SMTPSenderRefused: "to our sender (DEFAULT_FROM_EMAIL)",
            smtplib.SMTPDataError: "to the message",
        }.get(type(error), "to the greeting")
        raise kind(f"{server} answered {step}: {_words(error.smtp_code, error.smtp_error)}") from error
    except smtplib.SMTPServerDisconnected as error:
        # Perhaps after the last byte, so perhaps it was sent; a mail twice is better than none, and the id is the same.
        raise RetryLater(f"{server} ended the conversation early: {error}") from error
    except smtplib.SMTPException as error:  # it lacks STARTTLS, or any login we know
        raise PermanentError(f"{server} can not be used as EMAIL_URL says: {error}") from error
    except OSError as error:
        raise RetryLater(f"{server} can not be reached: {error}") from error


def _is_permanent(code: int) -> bool:
    return 500 <= code <= 599


def _words(code: int, text: bytes | str) -> str:
    """A reply as one line: ``550 5.1.1 No such user``."""
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(said.split())}"[:500]
