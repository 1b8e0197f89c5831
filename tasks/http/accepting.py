"""How a door accepts a job: enqueue it for the caller, wait for its end if that was asked for, and answer."""

from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from pydantic import BaseModel

from tasks.dispatch import enqueue, first_jobs
from tasks.errors import InvalidJob
from tasks.http import body, freshness, idempotency, waiting
from tasks.http.access import caller_of
from tasks.http.masking import mask_for
from tasks.http.schemas import JobOptions, answer, payload_of, shown
from tasks.models import Job


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """For ``openapi_extra`` of an operation that reads ``model`` and accepts a job."""
    return {"parameters": parameters(), **body.documented(model)}


def parameters() -> list[dict[str, Any]]:
    """The headers that every accepting operation knows."""
    key = idempotency.documented("The same key and body answer with the same job. Your keys are yours alone.")
    return [*key["parameters"], waiting.documented()]


def accept_payload(request: HttpRequest, task: str, model: type[JobOptions]) -> HttpResponse:
    """Accept a job of ``task`` whose payload are the members of the body, read as ``model``, that are no options."""
    given = body.read(request, model)
    # The digest is of what was said: defaults like "today" are another day's tomorrow.
    digest = idempotency.digest(task, body.parsed(request))
    return answer_accepted(request, enqueue_for(request, task, payload_of(given), given, digest=digest))


def enqueue_for(request: HttpRequest, task: str, payload: dict[str, Any], options: JobOptions, *, digest: str) -> Job:
    """The caller's job; with an Idempotency-Key that they have used for the same ``digest``, their first one.

    Raises what ``enqueue`` does, and InvalidJob for a key that is none.
    """
    key, caller = idempotency.key_of(request), caller_of(request)
    try:
        return enqueue(
            task,
            payload,
            priority=options.priority,
            delay_seconds=options.delay_seconds,
            run_at=options.run_at,
            expires_at=options.expires_at,
            correlation_id=options.correlation_id,
            metadata=options.metadata,
            idempotency_key=key,
            idempotency_owner=caller if key else "",
            idempotency_digest=digest if key else "",
            requested_by=caller,
            from_outside=True,
        )
    except InvalidJob:
        if key and (first := first_jobs(caller, {key: digest}).get(key)):
            return first
        raise


def answer_accepted(request: HttpRequest, accepted: Job) -> HttpResponse:
    """202 and the job, which is durable by now; 200 where the caller preferred to wait and it has ended."""
    location, seconds = f"/api/v1/jobs/{accepted.pk}", waiting.asked_seconds(request)
    waited = waiting.wait_for_reply(accepted, seconds, caller_of(request))
    known = _latest(accepted) if waited else accepted
    response = answer(
        shown(known, mask_for(request, known)), status=200 if waited and known.is_final else 202, location=location
    )
    if waited:
        waiting.tell(response, seconds)
    freshness.set_retry_after(response, known)
    return response


def _latest(accepted: Job) -> Job:
    """The job as it is by now; as it was, where the database is away: it was accepted all the same."""
    try:
        return Job.objects.filter(pk=accepted.pk).first() or accepted
    except (OperationalError, InterfaceError):
        return accepted
