"""What people do to endpoints. Admin and HTTP are doors over these.

Whoever asks sees their own: an endpoint of a token hears of the jobs that this token requested. One that hears of
everybody's takes a right of its own, and so does seeing what is others'.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from uuid_utils.compat import uuid7

from tasks import audit, history
from tasks.dispatch import text_problems
from tasks.errors import IllegalTransition, InvalidChange, TargetRefused
from tasks.models import Job, WebhookDelivery, WebhookEndpoint
from tasks.registry import registry
from tasks.webhooks import delivery, guard, messages, signing
from tasks.webhooks.messages import Event

MOST_ENDPOINTS = 20
KEEP_OLD_HOURS = 24
LONGEST_KEEP_HOURS = 7 * 24


def visible(caller: str, *, sees_all: bool) -> QuerySet[WebhookEndpoint]:
    """The endpoints of ``caller``; with the right to "webhooks.hear_all", everybody's. Newest first."""
    mine = Q() if sees_all else Q(owner=caller)
    return WebhookEndpoint.objects.filter(mine).order_by("-id")


def add(
    *,
    url: str,
    events: Iterable[str],
    tasks: Iterable[str] = (),
    description: str = "",
    hears_all: bool = False,
    requested_by: str,
) -> tuple[WebhookEndpoint, str]:
    """A new endpoint, and its secret, which is shown nowhere again. It hears of what happens from now on.

    ``tasks`` limits it to jobs of these; batch.finished it hears of all the same. ``hears_all``: of everybody's jobs,
    and not only of what ``requested_by`` requested. Raises InvalidChange, naming each wrong field.
    """
    given = _checked(url=url, events=events, tasks=tasks, description=description)
    seed, secret = signing.new_seed()
    endpoint = WebhookEndpoint(
        **given, owner="" if hears_all else requested_by, secrets=[seed], created_by=requested_by
    )
    with transaction.atomic():
        _record(endpoint, "add", requested_by, detail={"url": url, "hears_all": hears_all})
        mine = WebhookEndpoint.objects.filter(created_by=requested_by)
        list(mine.select_for_update().values_list("pk"))  # the next one who adds waits here, and counts this one
        if mine.count() >= MOST_ENDPOINTS:
            message = f"{requested_by} has {MOST_ENDPOINTS} endpoints, which is the most: remove one first"
            raise InvalidChange([{"field": "url", "message": message}])
        endpoint.after_event = history.newest_event()
        endpoint.save(force_insert=True)
    endpoint.refresh_from_db()
    return endpoint, secret


def change(endpoint_id: UUID, *, requested_by: str, **values: Any) -> WebhookEndpoint:
    """The endpoint with other ``values`` of url, events, tasks or description. What is under way goes to the new url
    with its next attempt. Raises WebhookEndpoint.DoesNotExist, and InvalidChange as ``add`` does."""
    given = _checked(**values)
    with transaction.atomic():
        endpoint = _hold(endpoint_id)
        _record(endpoint, "change", requested_by, detail=given)
        for name, value in given.items():
            setattr(endpoint, name, value)
        endpoint.save(update_fields=list(given))
    return endpoint


def rotate(
    endpoint_id: UUID, *, requested_by: str, keep_old_hours: float = KEEP_OLD_HOURS
) -> tuple[WebhookEndpoint, str]:
    """The endpoint with a new secret, which is shown nowhere again. For ``keep_old_hours`` (0 to 168) messages are
    signed with the old one as well. Raises WebhookEndpoint.DoesNotExist and InvalidChange."""
    if not 0 <= keep_old_hours <= LONGEST_KEEP_HOURS:
        message = f"is 0 to {LONGEST_KEEP_HOURS} hours; 0 ends the old secret at once"
        raise InvalidChange([{"field": "keep_old_hours", "message": message}])
    seed, secret = signing.new_seed()
    with transaction.atomic():
        endpoint = _hold(endpoint_id)
        _record(endpoint, "rotate", requested_by, detail={"keep_old_hours": keep_old_hours})
        endpoint.secrets = signing.rotated(endpoint.secrets, seed, keep=timedelta(hours=keep_old_hours))
        endpoint.save(update_fields=["secrets"])
    return endpoint, secret


def disable(endpoint_id: UUID, *, requested_by: str, reason: str = "") -> WebhookEndpoint:
    """Tell it of nothing more. What is under way becomes a dead letter, to be replayed once it is enabled again.
    Raises WebhookEndpoint.DoesNotExist, and IllegalTransition when it is disabled already."""
    with transaction.atomic():
        endpoint = _hold(endpoint_id)
        if endpoint.disabled_at is not None:
            raise IllegalTransition("the endpoint is disabled already")
        _record(endpoint, "disable", requested_by, reason=reason)
        endpoint.disabled_at, endpoint.disabled_why = timezone.now(), (reason or f"by {requested_by}")[:200]
        endpoint.save(update_fields=["disabled_at", "disabled_why"])
    return endpoint


def enable(endpoint_id: UUID, *, requested_by: str) -> WebhookEndpoint:
    """Tell it of what happens from now on; it does not hear of what happened meanwhile. Raises
    WebhookEndpoint.DoesNotExist, and IllegalTransition when it is enabled."""
    with transaction.atomic():
        endpoint = _hold(endpoint_id)
        if endpoint.disabled_at is None:
            raise IllegalTransition("the endpoint is enabled already")
        _record(endpoint, "enable", requested_by)
        endpoint.disabled_at, endpoint.disabled_why = None, ""
        endpoint.after_event = history.newest_event()
        endpoint.save(update_fields=["disabled_at", "disabled_why", "after_event"])
    return endpoint


def remove(endpoint_id: UUID, *, requested_by: str) -> None:
    """Forget it, with the list of its deliveries; their jobs stay, and those that have not ended are cancelled when
    they come to their next attempt. Raises WebhookEndpoint.DoesNotExist."""
    with transaction.atomic():
        endpoint = _hold(endpoint_id)
        _record(endpoint, "remove", requested_by, detail={"url": endpoint.url})
        endpoint.delete()


def test(endpoint_id: UUID, *, requested_by: str) -> Job:
    """The job that delivers a webhook.test to it. Raises WebhookEndpoint.DoesNotExist, and IllegalTransition when it
    is disabled."""
    with transaction.atomic():
        endpoint = _hold(endpoint_id)
        if endpoint.disabled_at is not None:
            raise IllegalTransition("the endpoint is disabled: enable it first")
        _record(endpoint, "test", requested_by)
        message = messages.of_test(endpoint, requested_by, timezone.now())
        (job,) = delivery.enqueue([delivery.New(endpoint=endpoint, key=f"test:{uuid7()}", message=message)])
    return job


def deliveries(endpoint: WebhookEndpoint, *, most: int, before: int | None = None) -> list[WebhookDelivery]:
    """Its newest deliveries, with their jobs; those older than the delivery ``before``, where given."""
    found = WebhookDelivery.objects.filter(endpoint=endpoint).select_related("job").defer("job__payload")
    if before is not None:
        found = found.filter(pk__lt=before)
    return list(found.order_by("-id")[:most])


def known_tasks() -> list[str]:
    """Whose jobs an endpoint can be told of: of all but the deliveries themselves."""
    return [spec.name for spec in registry if spec.name != delivery.TASK]


def _hold(endpoint_id: UUID) -> WebhookEndpoint:
    return WebhookEndpoint.objects.select_for_update().get(pk=endpoint_id)


def _record(
    endpoint: WebhookEndpoint, verb: str, by: str, *, reason: str = "", detail: dict[str, Any] | None = None
) -> None:
    audit.record(by, f"webhooks.{verb}", f"webhook {endpoint.pk}", reason=reason, detail=detail)


def _checked(**given: Any) -> dict[str, Any]:
    """Each of the given values as its column keeps it. Raises InvalidChange."""
    problems: list[dict[str, str]] = []
    for field in ("events", "tasks"):
        if field in given:
            given[field] = sorted(set(given[field]))
    if "events" in given:
        problems += _problems_of_choices("events", given["events"], Event.values)
        if not given["events"]:
            problems.append({"field": "events", "message": f"name at least one of {', '.join(Event.values)}"})
    if "tasks" in given:
        problems += _problems_of_choices("tasks", given["tasks"], known_tasks())
    if "description" in given:
        problems += text_problems(description=given["description"])
    if "url" in given:
        try:
            guard.target(given["url"])
        except TargetRefused as error:
            problems.append({"field": "url", "message": str(error)})
    if problems:
        raise InvalidChange(problems)
    return given


def _problems_of_choices(field: str, given: Sequence[str], known: Sequence[str]) -> list[dict[str, str]]:
    unknown = [name for name in given if name not in known]
    if not unknown:
        return []
    return [{"field": field, "message": f"there is no {', '.join(unknown)}; there are {', '.join(known)}"}]
