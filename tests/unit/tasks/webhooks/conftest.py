"""Endpoints at a receiver on loopback, and outcomes to tell them of."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tasks.models import Job, JobEvent, WebhookEndpoint
from tasks.webhooks import endpoints
from tests.receiver import Receiver
from tests.unit.tasks.factories import make_job


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """Where webhooks go in tests: http on loopback, which the settings allow here."""
    settings.TASKS_WEBHOOK_ALLOW_HTTP = settings.TASKS_WEBHOOK_ALLOW_PRIVATE = True
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def add(receiver: Receiver, db: None) -> Callable[..., tuple[WebhookEndpoint, str]]:
    """An endpoint at the receiver and its secret, which hears of all unless told otherwise."""

    def make(**given: Any) -> tuple[WebhookEndpoint, str]:
        usual = {
            "url": receiver.url,
            "events": WebhookEndpoint.Event.values,
            "hears_all": True,
            "requested_by": "ann",
        }
        return endpoints.add(**{**usual, **given})

    return make


def end(state: str = "succeeded", *, kind: str = "", job: Job | None = None, **values: Any) -> JobEvent:
    """The event of a job that just ended in ``state``."""
    job = job or make_job(state, **values)
    if job.state != state:
        Job.objects.filter(pk=job.pk).update(state=state, finished_at=job.created_at)
    detail = {"reason": "exhausted", "error": "ValueError: no more"} if state == "dead" else {}
    return JobEvent.objects.create(job=job, kind=kind or state, attempt=job.attempt, detail=detail)
