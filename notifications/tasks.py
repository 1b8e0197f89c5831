"""The doors for messages to people."""

import re
from typing import Annotated, Any

import phonenumbers
from django.conf import settings
from pydantic import AfterValidator, BaseModel, EmailStr, Field, model_validator

from notifications import services
from notifications.channels.base import Receipt
from notifications.channels.email import EmailChannel
from notifications.channels.text import Text, TextChannel
from tasks.api import JobContext, RetryPolicy, task

CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]")  # not isprintable(): French has spaces it refuses


TARGET = re.compile(r"[\w.:@+=#-]+", re.ASCII)


def _deliverable(address: str) -> str:
    """A domain can be written in ASCII (punycode), what stands before the @ can not."""
    if not address.rpartition("@")[0].isascii():
        raise ValueError("letters beyond ASCII before the @ need SMTPUTF8, which we do not speak")
    return address


def single_line(subject: str) -> str:
    if CONTROL.search(subject):
        raise ValueError("must be a single line without control characters")
    return subject


def _e164(number: str) -> str:
    """As E.164 writes it, whatever spaces and brackets it came with."""
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        raise ValueError("is no phone number: write it with its country, like +49 30 901820") from None
    if not phonenumbers.is_valid_number(parsed):
        raise ValueError("is no number that anybody can have; check its country code and its length")
    if parsed.extension:
        raise ValueError("has an extension, which no SMS can reach: leave it off")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _one_part(target: str) -> str:
    if not TARGET.fullmatch(target) or not any(map(str.isalnum, target)):
        raise ValueError(
            "has letters and digits, and ._:@+=#- between them: a device, a user or a topic as the provider names it"
        )
    return target


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError("says nothing: write what the recipients are to read")
    return text


Phone = Annotated[str, Field(max_length=40), AfterValidator(_e164)]
Target = Annotated[str, Field(max_length=255), AfterValidator(_one_part)]
Address = Annotated[EmailStr, AfterValidator(_deliverable)]
Wording = Annotated[str, Field(json_schema_extra={"pattern": r"\S"}), AfterValidator(_says_something)]


class EmailPayload(BaseModel):
    to: list[Address] = Field(title="To", description="Recipients, 1 to 50.", min_length=1, max_length=50)
    cc: list[Address] = Field([], title="Cc", description="Recipients of a copy, up to 50.", max_length=50)
    subject: Annotated[str, AfterValidator(single_line)] = Field(
        title="Subject", description="One line.", min_length=1, max_length=998
    )
    text: str = Field("", title="Text", description="The message without formatting; made from the HTML when empty.")
    html: str | None = Field(None, title="HTML", description="The message with formatting; optional beside a text.")

    @model_validator(mode="after")
    def _says_something(self) -> "EmailPayload":
        if not self.text.strip() and not (self.html or "").strip():
            raise ValueError("text or html is required")
        return self


@task(
    "email.send",
    payload=EmailPayload,
    queue="email-queue",
    retry=RetryPolicy(max_attempts=5, base_seconds=5),
    time_limit_seconds=60,
    title="E-mail",
)
def send(payload: EmailPayload, context: JobContext) -> dict[str, Any]:
    """Send an e-mail. Recipients the server refuses for good are named in the result beside those it accepted."""
    context.checkpoint()
    email = services.compose(job_id=context.job_id, **payload.model_dump())
    receipt = services.deliver(email, EmailChannel(), context.once)
    return {"message_id": email.message_id, **_told(receipt)}


class SmsPayload(BaseModel):
    to: list[Phone] = Field(title="To", description="Phone numbers with country, 1 to 50.", min_length=1, max_length=50)
    text: Wording = Field(title="Text", description="Up to 1,600 characters.", max_length=1600)


class PushPayload(BaseModel):
    to: list[Target] = Field(title="To", description="Devices, users or topics, 1 to 50.", min_length=1, max_length=50)
    title: Annotated[str, AfterValidator(single_line)] = Field(
        "", title="Title", description="One line.", max_length=250
    )
    text: Wording = Field(title="Text", description="Up to 4,000 characters.", max_length=4000)


@task(
    "sms.send",
    payload=SmsPayload,
    queue="sms-queue",
    retry=RetryPolicy(max_attempts=5, base_seconds=5),
    time_limit_seconds=120,
    title="SMS",
)
def send_sms(payload: SmsPayload, context: JobContext) -> dict[str, Any]:
    """Send a text to phones. Numbers the provider refuses for good are named in the result."""
    return _send_text("sms", settings.SMS_URLS, payload.to, "", payload.text, context)


@task(
    "push.send",
    payload=PushPayload,
    queue="push-queue",
    retry=RetryPolicy(max_attempts=5, base_seconds=5),
    time_limit_seconds=120,
    title="Push message",
)
def send_push(payload: PushPayload, context: JobContext) -> dict[str, Any]:
    """Send a push message. Recipients the provider refuses for good are named in the result."""
    return _send_text("push", settings.PUSH_URLS, payload.to, payload.title, payload.text, context)


def _send_text(
    channel: str, urls: list[str], to: list[str], title: str, text: str, context: JobContext
) -> dict[str, Any]:
    context.checkpoint()
    if context.rehearsal:
        context.would_send(channel, to, title)
        return {}
    message = Text(id=str(context.job_id), recipients=tuple(dict.fromkeys(to)), title=title, text=text)
    return _told(services.deliver_each(message, TextChannel(channel, urls), context.once))


def _told(receipt: Receipt) -> dict[str, Any]:
    """What became of each recipient, for the job's result."""
    refused = [{"address": address, "reason": reason} for address, reason in receipt.refused.items()]
    return {"accepted": receipt.accepted, "refused": refused}
