"""/webhooks: who is told of outcomes, with which secret, and what became of it."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tasks.http import body
from tasks.http.access import allowed, may, require
from tasks.http.schemas import answer
from tasks.models import WebhookDelivery, WebhookEndpoint
from tasks.webhooks import endpoints
from tasks.webhooks.endpoints import KEEP_OLD_HOURS, LONGEST_KEEP_HOURS
from tasks.webhooks.messages import Event, Message

MOST_DELIVERIES = 100

router = Router(tags=["webhooks"])

EventName = Annotated[str, Field(json_schema_extra={"enum": Event.values})]


class EndpointIn(BaseModel, extra="forbid"):
    url: str = Field(description="https, and a public address.", examples=["https://example.com/hooks/tasks"])
    events: list[EventName] = Field(min_length=1, description="What it is told of.")
    tasks: list[str] = Field([], max_length=100, description="Only jobs of these tasks; empty: of all.")
    description: str = Field("", max_length=200, description="For people.")
    hears_all: bool = Field(
        False, strict=True, description="Of everybody's jobs and not only of yours; takes webhooks:all."
    )


class EndpointChange(BaseModel, extra="forbid"):
    url: str | None = None
    events: list[EventName] | None = Field(None, min_length=1)
    tasks: list[str] | None = Field(None, max_length=100)
    description: str | None = Field(None, max_length=200)
    is_enabled: bool | None = Field(
        None, description="False: tell it of nothing more. True: of what happens from now on."
    )


class RotateIn(BaseModel, extra="forbid"):
    keep_old_hours: float = Field(
        KEEP_OLD_HOURS,
        ge=0,
        le=LONGEST_KEEP_HOURS,
        allow_inf_nan=False,
        description="How long messages are signed with the old secret as well.",
    )


class EndpointOut(TypedDict):
    id: UUID
    url: str
    events: list[str]
    tasks: list[str]
    description: str
    hears_all: bool
    owner: str
    is_enabled: bool
    disabled_at: datetime | None
    disabled_why: str
    created_by: str
    created_at: datetime


class EndpointWithSecret(EndpointOut):
    secret: Annotated[str, Field(description="Shown this once.")]


class DeliveryOut(TypedDict):
    id: int
    type: str
    message_id: Annotated[str, Field(description="The webhook-id that it is sent with.")]
    job_id: Annotated[UUID, Field(description="The job that delivers it: its attempts, its replay.")]
    state: str
    attempt: int
    error: Annotated[str, Field(description="What became of the latest attempt that failed.")]
    due_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


class DeliveriesOut(TypedDict):
    items: list[DeliveryOut]
    next: Annotated[str | None, Field(description="The address of the page after this one.")]


class TestOut(TypedDict):
    job_id: UUID


@router.get("/webhooks", response=list[EndpointOut], auth=allowed("webhooks.view"), summary="List webhook endpoints")
def list_endpoints(request: HttpRequest) -> HttpResponse:
    """Yours, newest first; with webhooks:all, everybody's."""
    return answer([_shown(endpoint) for endpoint in _visible(request)])


@router.post(
    "/webhooks",
    response={201: EndpointWithSecret},
    auth=allowed("webhooks.add"),
    summary="Add a webhook endpoint",
    openapi_extra={
        **body.documented(EndpointIn),
        "callbacks": {
            "message": {
                "{$request.body#/url}": {
                    "post": {
                        "summary": "What the endpoint is told",
                        "description": "Signed as https://www.standardwebhooks.com has it. Any answer but 2xx is a "
                        "failure and tried again for about a day; 410 disables the endpoint.",
                        **body.documented(Message),
                        "responses": {"2XX": {"description": "Taken."}, "410": {"description": "Send no more."}},
                    }
                }
            }
        },
    },
)
def add_endpoint(request: HttpRequest) -> HttpResponse:
    """It is told of what happens from now on. The ``secret`` is shown in this answer and never again."""
    given = body.read(request, EndpointIn)
    if given.hears_all:
        require(request, "webhooks.hear_all")
    endpoint, secret = endpoints.add(**given.model_dump(), requested_by=_caller(request))
    return _with_secret(endpoint, secret, status=201)


@router.get("/webhooks/{uuid:endpoint_id}", response=EndpointOut, auth=allowed("webhooks.view"), summary="Read one")
def read_endpoint(request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
    return answer(_shown(_mine(request, endpoint_id)))


@router.patch(
    "/webhooks/{uuid:endpoint_id}",
    response=EndpointOut,
    auth=allowed("webhooks.change"),
    summary="Change, disable or enable one",
    openapi_extra=body.documented(EndpointChange),
)
def change_endpoint(request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
    """Only what is given changes; one that is told to be as it is stays so."""
    given = body.read(request, EndpointChange)
    endpoint, caller = _mine(request, endpoint_id), _caller(request)
    values = given.model_dump(exclude_none=True, exclude={"is_enabled"})
    if values:
        endpoint = endpoints.change(endpoint.pk, requested_by=caller, **values)
    if given.is_enabled is not None and given.is_enabled != (endpoint.disabled_at is None):
        act = endpoints.enable if given.is_enabled else endpoints.disable
        endpoint = act(endpoint.pk, requested_by=caller)
    return answer(_shown(endpoint))


@router.delete(
    "/webhooks/{uuid:endpoint_id}", response={204: None}, auth=allowed("webhooks.remove"), summary="Remove one"
)
def remove_endpoint(request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
    """What is under way is cancelled before its next attempt."""
    endpoints.remove(_mine(request, endpoint_id).pk, requested_by=_caller(request))
    return HttpResponse(status=204)


@router.post(
    "/webhooks/{uuid:endpoint_id}/rotate",
    response=EndpointWithSecret,
    auth=allowed("webhooks.rotate"),
    summary="Give it a new secret",
    openapi_extra=body.documented(RotateIn, required=False),
)
def rotate_secret(request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
    """The ``secret`` is shown in this answer and never again."""
    given = body.read(request, RotateIn, may_be_empty=True)
    endpoint = _mine(request, endpoint_id)
    changed, secret = endpoints.rotate(endpoint.pk, requested_by=_caller(request), keep_old_hours=given.keep_old_hours)
    return _with_secret(changed, secret)


@router.post(
    "/webhooks/{uuid:endpoint_id}/test", response={202: TestOut}, auth=allowed("webhooks.test"), summary="Send a test"
)
def test_endpoint(request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
    """A message of the type webhook.test; its job tells what became of it."""
    job = endpoints.test(_mine(request, endpoint_id).pk, requested_by=_caller(request))
    return answer({"job_id": job.pk}, status=202, location=f"/api/v1/jobs/{job.pk}")


@router.get(
    "/webhooks/{uuid:endpoint_id}/deliveries",
    response=DeliveriesOut,
    auth=allowed("webhooks.view"),
    summary="What it was told",
)
def list_deliveries(
    request: HttpRequest,
    endpoint_id: UUID,
    limit: int = Query(20, ge=1, le=MOST_DELIVERIES),
    before: int | None = Query(None, ge=1, le=2**63 - 1, description="Only those older than the delivery of this id."),
) -> HttpResponse:
    """Newest first, as long as their jobs are kept."""
    found = endpoints.deliveries(_mine(request, endpoint_id), most=limit + 1, before=before)
    more = found[limit - 1].pk if len(found) > limit else None
    following = f"{request.path}?limit={limit}&before={more}" if more else None
    return answer({"items": [_shown_delivery(each) for each in found[:limit]], "next": following})


def _caller(request: HttpRequest) -> str:
    return request.auth  # type: ignore[attr-defined]  # set by ninja: what the authenticator returned


def _visible(request: HttpRequest) -> Any:
    return endpoints.visible(_caller(request), sees_all=may(request, "webhooks.hear_all"))


def _mine(request: HttpRequest, endpoint_id: UUID) -> WebhookEndpoint:
    """Raises Http404 for one of others as for one that is not there."""
    endpoint = _visible(request).filter(pk=endpoint_id).first()
    if endpoint is None:
        raise Http404(f"there is no webhook endpoint {endpoint_id}")
    return endpoint


def _with_secret(endpoint: WebhookEndpoint, secret: str, *, status: int = 200) -> HttpResponse:
    location = f"/api/v1/webhooks/{endpoint.pk}" if status == 201 else ""
    response = answer({**_shown(endpoint), "secret": secret}, status=status, location=location)
    response["Cache-Control"] = "no-store"
    return response


def _shown(endpoint: WebhookEndpoint) -> EndpointOut:
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": endpoint.events,
        "tasks": endpoint.tasks,
        "description": endpoint.description,
        "hears_all": not endpoint.owner,
        "owner": endpoint.owner,
        "is_enabled": endpoint.disabled_at is None,
        "disabled_at": endpoint.disabled_at,
        "disabled_why": endpoint.disabled_why,
        "created_by": endpoint.created_by,
        "created_at": endpoint.created_at,
    }


def _shown_delivery(delivery: WebhookDelivery) -> DeliveryOut:
    job = delivery.job
    return {
        "id": delivery.pk,
        "type": delivery.type,
        "message_id": f"msg_{job.pk}",
        "job_id": job.pk,
        "state": job.state,
        "attempt": job.attempt,
        "error": job.error,
        "due_at": job.due_at,
        "created_at": delivery.created_at,
        "finished_at": job.finished_at,
    }
