"""What a message to people is made of: recipients, wording, and one notification for all channels."""

import re
from typing import Annotated, Any

import phonenumbers
from pydantic import AfterValidator, BaseModel, EmailStr, Field, model_validator

MOST_TITLE = 250
MOST_TEXT = 1600

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


class SmsPayload(BaseModel):
    to: list[Phone] = Field(title="To", description="Phone numbers with country, 1 to 50.", min_length=1, max_length=50)
    text: Wording = Field(title="Text", description="Up to 1,600 characters.", max_length=1600)


class PushPayload(BaseModel):
    to: list[Target] = Field(title="To", description="Devices, users or topics, 1 to 50.", min_length=1, max_length=50)
    title: Annotated[str, AfterValidator(single_line)] = Field(
        "", title="Title", description="One line.", max_length=250
    )
    text: Wording = Field(title="Text", description="Up to 4,000 characters.", max_length=4000)


class Recipients(BaseModel, extra="forbid"):
    """Whom a notification is for, by channel."""

    email: list[Address] = Field([], max_length=50)
    sms: list[Phone] = Field([], max_length=50, description="Phone numbers with country: +49 30 901820.")
    push: list[Target] = Field([], max_length=50, description="Devices, users or topics, as the provider names them.")

    @model_validator(mode="after")
    def _is_somebody(self) -> "Recipients":
        if not (self.email or self.sms or self.push):
            raise ValueError("names nobody: give recipients for email, sms or push")
        return self


class Notification(BaseModel, extra="forbid"):
    """One message, and whom it reaches by which channel. Each channel's payload is None where it reaches nobody."""

    to: Recipients
    title: Annotated[str, AfterValidator(single_line)] = Field(
        min_length=1, max_length=MOST_TITLE, description="One line: the subject of the e-mail; SMS have none."
    )
    text: Wording = Field(max_length=MOST_TEXT, description="Short enough for all channels.")
    html: str | None = Field(None, description="For the e-mail, beside the text.")

    def for_email(self) -> dict[str, Any] | None:
        """The payload of `email.send`."""
        said = {"subject": self.title, "text": self.text, "html": self.html}
        return {"to": self.to.email, **said} if self.to.email else None

    def for_sms(self) -> dict[str, Any] | None:
        """The payload of `sms.send`."""
        return {"to": self.to.sms, "text": self.text} if self.to.sms else None

    def for_push(self) -> dict[str, Any] | None:
        """The payload of `push.send`."""
        return {"to": self.to.push, "title": self.title, "text": self.text} if self.to.push else None
