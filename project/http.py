"""Root of the HTTP API."""

from django.http import Http404, HttpRequest
from ninja import Router

from media.http import router as images
from notifications.http import router as notifications
from project.openapi import Api
from project.problems import add_problem_handlers
from reports.http import router as reports
from tasks.http.batches import router as batches
from tasks.http.catalogue import router as catalogue
from tasks.http.dead_letters import router as dead_letters
from tasks.http.decisions import router as decisions
from tasks.http.failure_groups import router as failure_groups
from tasks.http.histories import router as histories
from tasks.http.jobs import router as jobs
from tasks.http.letter_edits import router as letter_edits
from tasks.http.operations import router as operations
from tasks.http.problems import PROBLEM_TYPES
from tasks.http.queues import router as queues
from tasks.http.redirects import router as redirects
from tasks.http.replies import router as replies
from tasks.http.stream import router as streams
from tasks.http.webhooks import router as webhooks

api = Api(
    title="Task platform",
    version="1",
    description="Accept work at once; a broker spreads it over workers. Errors are problems of RFC 9457.",
    urls_namespace="api",
)
add_problem_handlers(api)
problems = Router(tags=["problems"])


@problems.get("/problems/{slug}", summary="What a problem type means")
def read_problem_type(request: HttpRequest, slug: str) -> dict[str, str | int]:
    kind = PROBLEM_TYPES.get(slug)
    if kind is None:
        raise Http404(f"there is no problem type {slug!r}; there are {', '.join(PROBLEM_TYPES)}")
    return {"status": kind.status, "title": kind.title, "remedy": kind.remedy}


for router in (
    jobs,
    histories,
    streams,
    decisions,
    batches,
    catalogue,
    notifications,
    reports,
    images,
    dead_letters,
    letter_edits,
    failure_groups,
    operations,
    redirects,
    queues,
    replies,
    webhooks,
    problems,
):
    api.add_router("", router)
