"""The doors for messages to people."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, EmailStr, Field, model_validator

from notifications import services
from notifications.channels.email import EmailChannel
from tasks.api import JobContext, RetryPolicy, task

CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]")  # not isprintable(): French has spaces it refuses


def _deliverable(address: str) -> str:
    """A domain can be written in ASCII (punycode), what stands before the @ can not."""
    if not address.rpartition("@")[0].isascii():
        raise ValueError("letters beyond ASCII before the @ need SMTPUTF8, which we do not speak")
    return address


def _single_line(subject: str) -> str:
    if CONTROL.search(subject):
        raise ValueError("must be a single line without control characters")
    return subject


Address = Annotated[EmailStr, AfterValidator(_deliverable)]


class EmailPayload(BaseModel):
    to: list[Address] = Field(title="To", description="Recipients, 1 to 50.", min_length=1, max_length=50)
    cc: list[Address] = Field([], title="Cc", description="Recipients of a copy, up to 50.", max_length=50)
    subject: Annotated[str, AfterValidator(_single_line)] = Field(
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
    return {
        "message_id": email.message_id,
        "accepted": receipt.accepted,
        "refused": [{"address": address, "reason": reason} for address, reason in receipt.refused.items()],
    }
