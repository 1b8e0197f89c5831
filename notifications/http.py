"""/emails, /notifications: messages to people."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import BaseModel, Field, SkipValidation

from notifications.payloads import EmailPayload, Notification
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

router = Router(tags=["notifications"])


class EmailIn(JobOptions, EmailPayload):
    """The e-mail, and when it is sent."""


class EmailsIn(BaseModel, extra="forbid"):
    name: str = Field("", max_length=200, pattern=PLAIN, description="For people.")
    # Each is checked by itself, so that one that is wrong does not refuse the others.
    emails: list[SkipValidation[EmailIn]] = Field(min_length=1, max_length=MOST_JOBS)


class NotificationIn(JobOptions, Notification):
    """The notification, and when it is sent."""


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
    payloads = {"email.send": given.for_email(), "sms.send": given.for_sms(), "push.send": given.for_push()}
    return [_work(task, payload, given) for task, payload in payloads.items() if payload is not None]


def _work(task: str, payload: dict[str, Any], options: JobOptions) -> Work:
    said = options.model_dump(mode="json", include=set(JobOptions.model_fields))
    return Work(task, payload, options, digest(task, payload, said))
