"""Root of the HTTP API."""

from django.http import Http404, HttpRequest
from ninja import NinjaAPI, Router

from project.problems import add_problem_handlers
from tasks.http.batches import router as batches
from tasks.http.dead_letters import router as dead_letters
from tasks.http.failure_groups import router as failure_groups
from tasks.http.jobs import router as jobs
from tasks.http.operations import router as operations
from tasks.http.problems import PROBLEM_TYPES
from tasks.http.redirects import router as redirects
from tasks.http.webhooks import router as webhooks

api = NinjaAPI(
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


api.add_router("", jobs)
api.add_router("", batches)
api.add_router("", dead_letters)
api.add_router("", failure_groups)
api.add_router("", operations)
api.add_router("", redirects)
api.add_router("", webhooks)
api.add_router("", problems)
