"""/jobs/{id}/stream, /batches/{id}/stream: server-sent events.

The views answer with what is to be told at this moment, in full, and hold no thread. A process made for streams
(project/streams.py) sends that and goes on; from any other, the client comes again after POLL_MILLISECONDS, as the
protocol has it, and asks for what it missed. Either way `Last-Event-ID` is all that a client needs to go on elsewhere.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic_core import to_json

from tasks import following
from tasks.dead_letters.masking import Mask
from tasks.following import Changed, Counted, News, Progressed
from tasks.http.access import allowed
from tasks.http.batches import readable_batch
from tasks.http.jobs import readable_job
from tasks.http.masking import mask_for
from tasks.http.schemas import shown, shown_batch
from tasks.polling import Poller

POLL_MILLISECONDS = 2000

router = Router(tags=["streams"])


class EventStream(HttpResponse):
    """What ``follower`` has to tell so far. ``poller`` is who brings it more, to whoever sends it on to ``caller``."""

    def __init__(self, follower: following.Follower, poller: Poller[Any], caller: str, mask: Mask | None = None):
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # the latter for nginx: each leaves at once
        super().__init__(
            retry(POLL_MILLISECONDS) + rendered(follower.take(), mask),
            content_type="text/event-stream",
            headers=headers,
        )
        self.follower = follower
        self.poller = poller
        self.caller = caller
        self.mask = mask


def documented(description: str) -> dict[str, Any]:
    """For ``openapi_extra`` of an operation that answers with a stream."""
    last_seen = {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The `id` of the last event that was received: what was missed since then is told first.",
        "schema": {"type": "string"},
    }
    content = {"text/event-stream": {"schema": {"type": "string"}}}
    answers = {
        200: {"description": description, "content": content},
        204: {"description": "All was received: it has ended. An EventSource does not come again."},
    }
    return {"parameters": [last_seen], "responses": answers}


@router.get(
    "/jobs/{uuid:job_id}/stream",
    auth=allowed("jobs.view"),
    summary="Follow a job",
    openapi_extra=documented(
        "`state` events with `kind`, `state`, `attempt` and `at`; `progress` events with `attempt`, `done`, `total`, "
        "`percent` and `note`. The last one has the `job` as GET answers it, then the stream ends."
    ),
)
def stream_job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """The first event is the job's latest state, or what was missed. A comment comes every 15 s."""
    job = readable_job(request, job_id)
    follower = following.follow_job(job.pk, _last_seen(request))
    return _answer(request, follower, following.jobs, mask_for(request, job))


@router.get(
    "/batches/{uuid:batch_id}/stream",
    auth=allowed("jobs.view"),
    summary="Follow a batch",
    openapi_extra=documented(
        "`counts` events with the batch as GET answers it, whenever its numbers have changed; the stream ends when "
        "none of its jobs is unfinished."
    ),
)
def stream_batch(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    """The first event is how far the batch is. A comment comes every 15 s."""
    batch = readable_batch(request, batch_id)
    return _answer(request, following.follow_batch(batch, _last_seen(request)), following.batches)


def retry(milliseconds: int) -> bytes:
    """How long a client is to wait before it comes again, whenever this stream ends."""
    return b"retry: %d\n\n" % milliseconds


def comment(text: str) -> bytes:
    return f": {text}\n\n".encode()


def rendered(news: Iterable[News], mask: Mask | None) -> bytes:
    """``news``, without what ``mask`` hides, as events. JSON has no line breaks, so each is one line of data."""
    return b"".join(_event(each, mask) for each in news)


def _event(news: News, mask: Mask | None) -> bytes:
    match news:
        case Changed():
            data = {"kind": news.kind, "state": news.state, "attempt": news.attempt, "at": news.at}
            if news.job is not None:
                data["job"] = shown(news.job, mask)
            return _written("state", str(news.position), data)
        case Progressed():
            data = {"attempt": news.attempt, "done": news.done, "total": news.total}
            data |= {"percent": news.percent, "note": mask.text(news.note) if mask else news.note}
            return _written("progress", str(news.position), data)
        case Counted():
            return _written("counts", news.version, shown_batch(news.batch, news.counts))


def _written(event: str, id: str, data: Any) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (id.encode(), event.encode(), to_json(data))


def _answer(
    request: HttpRequest, follower: following.Follower, poller: Poller[Any], mask: Mask | None = None
) -> HttpResponse:
    caller: str = request.auth  # type: ignore[attr-defined]  # set by ninja: what the authenticator returned
    stream = EventStream(follower, poller, caller, mask)
    has_all = follower.has_ended and stream.content == retry(POLL_MILLISECONDS)
    return HttpResponse(status=204) if has_all else stream


def _last_seen(request: HttpRequest) -> str:
    seen: str = request.META.get("HTTP_LAST_EVENT_ID", "")
    return seen
