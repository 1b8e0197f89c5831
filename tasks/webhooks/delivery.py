"""One message to one endpoint, as often as it takes: any answer but 2xx is a failure, as the specification has it, and
only 410, "gone", ends it at once. What can not be delivered is a dead letter, and can be replayed like any other."""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from uuid import UUID

import httpx
from django.utils import timezone
from pydantic import BaseModel

from tasks.context import JobContext
from tasks.dispatch import JobRequest, prepare, store
from tasks.errors import JobCancelled, PermanentError, RetryLater, TargetRefused
from tasks.models import Job, WebhookDelivery, WebhookEndpoint
from tasks.retry import RetryPolicy
from tasks.webhooks import guard, pinned, signing
from tasks.webhooks.messages import Message, body_of

TASK = "platform.deliver_webhook"
TIME_LIMIT_SECONDS = 45
RETRY = RetryPolicy(max_attempts=19, base_seconds=10, cap_seconds=6 * 3600)
"""Over about a day: the waits add up to 24 hours on average, and to twice that at most."""
LONGEST_WISH_SECONDS = 24 * 3600.0

MOST_READ = 4096
"""Bytes of an answer that are read, at most: only its status counts, and somebody else decides how long it is."""
GONE = 410


class DeliveryPayload(BaseModel):
    """A message, and whom it is for."""

    endpoint_id: UUID
    message: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class New:
    """A delivery to be made. ``key`` names the event among all that the endpoint is told."""

    endpoint: WebhookEndpoint
    key: str
    message: Message
    correlation_id: str = ""
    about: str = ""


def enqueue(new: Sequence[New]) -> list[Job]:
    """A job for each; in the caller's transaction. IntegrityError where an endpoint was told of a ``key`` already."""
    jobs = store([prepare(_request(each)) for each in new])
    made = [job for job in jobs if isinstance(job, Job)]  # none has an idempotency key that could conflict
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(endpoint=each.endpoint, job=job, type=each.message.type, key=each.key)
        for each, job in zip(new, made, strict=True)
    )
    return made


def deliver(payload: DeliveryPayload, context: JobContext) -> dict[str, Any]:
    """Send the message. The same job id is the same ``webhook-id``, in each attempt and after a replay.

    Raises RetryLater for all that may pass, PermanentError where the endpoint is disabled or answers 410, which
    disables it, and JobCancelled where it was removed.
    """
    endpoint = WebhookEndpoint.objects.filter(pk=payload.endpoint_id).first()
    if endpoint is None:
        raise JobCancelled("the endpoint was removed")
    if endpoint.disabled_at is not None:
        raise PermanentError(f"the endpoint is disabled ({endpoint.disabled_why}): enable it, then replay this")
    if not WebhookDelivery.objects.filter(job=context.job_id, endpoint=endpoint).exists():
        raise PermanentError("the platform made no such delivery: who edits one, or makes one by hand, signs nothing")
    if context.rehearsal:
        context.would_send("webhook", [endpoint.url], str(payload.message.get("type", "")))
        return {}
    body = body_of(payload.message)
    began = time.monotonic()
    try:
        target = guard.target(endpoint.url)
        headers = signing.headers(endpoint.secrets, f"msg_{context.job_id}", body)
        status, answer = _post(target, body.encode(), headers)
    except signing.SecretLost as error:
        raise PermanentError(str(error)) from error
    except TargetRefused as error:
        raise RetryLater(str(error)) from error
    except httpx.HTTPError as error:
        raise RetryLater(f"the endpoint can not be reached: {type(error).__name__} {error}".strip()) from error
    if 200 <= status < 300:
        return {"status": status, "milliseconds": round((time.monotonic() - began) * 1000)}
    _refused(endpoint, status, answer, context)


def _request(new: New) -> JobRequest:
    endpoint = new.endpoint
    return JobRequest(
        task=TASK,
        payload={"endpoint_id": str(endpoint.pk), "message": new.message.model_dump(mode="json")},
        requested_by=endpoint.owner or endpoint.created_by,
        correlation_id=new.correlation_id,
        metadata={"webhook": str(endpoint.pk), "event": new.message.type, "about": new.about},
    )


def _refused(endpoint: WebhookEndpoint, status: int, answer: httpx.Headers, context: JobContext) -> NoReturn:
    if status == GONE:
        live = WebhookEndpoint.objects.filter(pk=endpoint.pk, disabled_at=None)
        if live.update(disabled_at=timezone.now(), disabled_why="it answered 410, gone"):
            context.log.warning("webhook endpoint %s answered 410 and is disabled", endpoint.pk)
        raise PermanentError("the endpoint answered 410, gone, and is disabled")
    redirect = ": a redirect is not followed, so give the endpoint its new address" if 300 <= status < 400 else ""
    raise RetryLater(f"the endpoint answered {status}{redirect}", delay_seconds=wish_of(answer.get("retry-after", "")))


def wish_of(retry_after: str, *, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, in numbers or as a date, up to LONGEST_WISH_SECONDS; None where it
    says nothing that can be understood."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            at = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        seconds = (at - (now or timezone.now())).total_seconds()
    return None if math.isnan(seconds) else min(max(0.0, seconds), LONGEST_WISH_SECONDS)


def _post(target: guard.Target, body: bytes, headers: dict[str, str]) -> tuple[int, httpx.Headers]:
    headers = {**headers, "content-type": "application/json", "user-agent": "task-platform-webhooks/1"}
    with pinned.request("POST", target, headers=headers, content=body) as answer:
        _read(answer.iter_raw(MOST_READ))
        return answer.status_code, answer.headers


def _read(chunks: Iterable[bytes]) -> None:
    """A little of an answer, so that its sender need not see a broken connection; none of it is kept."""
    end, size = time.monotonic() + pinned.SILENCE_SECONDS, 0
    try:
        for chunk in chunks:
            size += len(chunk)
            if size >= MOST_READ or time.monotonic() > end:
                return
    except httpx.HTTPError:
        return  # its status has come, and counts
