"""The doors for messages to people."""

from typing import Any

from django.conf import settings

from notifications import services
from notifications.channels.base import Receipt
from notifications.channels.email import EmailChannel
from notifications.channels.text import Text, TextChannel
from notifications.payloads import EmailPayload, Notification, PushPayload, SmsPayload
from tasks.api import JobContext, RetryPolicy, task


@task(
    "email.send",
    payload=EmailPayload,
    queue="email-queue",
    retry=RetryPolicy(max_attempts=5, base_seconds=5),
    time_limit_seconds=60,
    title="E-mail",
    envelope_type="email",
    parts={"notification": lambda data: Notification.model_validate(data).for_email()},
)
def send(payload: EmailPayload, context: JobContext) -> dict[str, Any]:
    """Send an e-mail. Recipients the server refuses for good are named in the result beside those it accepted."""
    context.checkpoint()
    email = services.compose(job_id=context.job_id, **payload.model_dump())
    receipt = services.deliver(email, EmailChannel(), context.once)
    return {"message_id": email.message_id, **_told(receipt)}


@task(
    "sms.send",
    payload=SmsPayload,
    queue="sms-queue",
    retry=RetryPolicy(max_attempts=5, base_seconds=5),
    time_limit_seconds=120,
    title="SMS",
    envelope_type="sms",
    parts={"notification": lambda data: Notification.model_validate(data).for_sms()},
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
    envelope_type="push",
    parts={"notification": lambda data: Notification.model_validate(data).for_push()},
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
