"""/emails, /notifications: messages to people."""

from typing import Annotated, Any, Self

from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import AfterValidator, BaseModel, Field, SkipValidation, model_validator

from notifications.tasks import Address, EmailPayload, Phone, Target, Wording, single_line
from tasks.http.door import (
    MOST_JOBS,
    PLAIN,
    BatchAnswer,
    JobOptions,
    JobOut,
    Work,
    accept_many,
    accept_payload,
    allowed,
    digest,
    documented,
    many_documented,
    payload_of,
    read_body,
)

MOST_TITLE = 250
MOST_TEXT = 1600

router = Router(tags=["notifications"])


class EmailIn(JobOptions, EmailPayload):
    """The e-mail, and when it is sent."""


class EmailsIn(BaseModel, extra="forbid"):
    name: str = Field("", max_length=200, pattern=PLAIN, description="For people.")
    # Each is checked by itself, so that one that is wrong does not refuse the others.
    emails: list[SkipValidation[EmailIn]] = Field(min_length=1, max_length=MOST_JOBS)


class Recipients(BaseModel, extra="forbid"):
    """Whom a notification is for, by channel."""

    email: list[Address] = Field([], max_length=50)
    sms: list[Phone] = Field([], max_length=50, description="Phone numbers with country: +49 30 901820.")
    push: list[Target] = Field([], max_length=50, description="Devices, users or topics, as the provider names them.")

    @model_validator(mode="after")
    def _is_somebody(self) -> Self:
        if not (self.email or self.sms or self.push):
            raise ValueError("names nobody: give recipients for email, sms or push")
        return self


class NotificationIn(JobOptions):
    """One message, and whom it reaches by which channel."""

    to: Recipients
    title: Annotated[str, AfterValidator(single_line)] = Field(
        min_length=1, max_length=MOST_TITLE, description="One line: the subject of the e-mail; SMS have none."
    )
    text: Wording = Field(max_length=MOST_TEXT, description="Short enough for all channels.")
    html: str | None = Field(None, description="For the e-mail, beside the text.")


@router.post(
    "/emails",
    response={200: JobOut, 202: JobOut},
    auth=allowed("jobs.enqueue"),
    summary="Send an e-mail",
    openapi_extra=documented(EmailIn),
)
def create_email(request: HttpRequest) -> HttpResponse:
    """A job of `email.send`."""
    return accept_payload(request, "email.send", EmailIn)


@router.post(
    "/emails/bulk",
    response={202: BatchAnswer},
    auth=allowed("jobs.enqueue"),
    summary=f"Send up to {MOST_JOBS:,} e-mails",
    openapi_extra=many_documented(EmailsIn),
)
def create_emails(request: HttpRequest) -> HttpResponse:
    """A batch of `email.send`: what is wrong is refused by itself, as with POST /jobs/batch."""
    given = read_body(request, EmailsIn)

    def work(item: Any) -> Work:
        email = EmailIn.model_validate(item)
        return _work("email.send", payload_of(email), email)

    return accept_many(request, given.name, given.emails, work, member="emails")


@router.post(
    "/notifications",
    response={202: BatchAnswer},
    auth=allowed("jobs.enqueue"),
    summary="Tell people by several channels",
    openapi_extra=many_documented(NotificationIn),
)
def create_notification(request: HttpRequest) -> HttpResponse:
    """A batch with a job for each channel that has recipients, in the order e-mail, SMS, push. Each is retried, and
    can be repaired, by itself. A body with a fault is refused as a whole."""
    given = read_body(request, NotificationIn)
    return accept_many(request, given.title[:200], _channels(given), lambda work: work, member="to", whole=True)


def _channels(given: NotificationIn) -> list[Work]:
    to, text = given.to, given.text
    email = {"to": to.email, "subject": given.title, "text": text, "html": given.html}
    payloads: list[tuple[str, list[str], dict[str, Any]]] = [
        ("email.send", to.email, email),
        ("sms.send", to.sms, {"to": to.sms, "text": text}),
        ("push.send", to.push, {"to": to.push, "title": given.title, "text": text}),
    ]
    return [_work(task, payload, given) for task, recipients, payload in payloads if recipients]


def _work(task: str, payload: dict[str, Any], options: JobOptions) -> Work:
    said = options.model_dump(mode="json", include=set(JobOptions.model_fields))
    return Work(task, payload, options, digest(task, payload, said))
