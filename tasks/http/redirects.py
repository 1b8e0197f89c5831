"""/dead-letters/redirects: standing orders that move replays to another task or queue."""

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Router
from pydantic import BaseModel, Field

from tasks.dead_letters import redirects
from tasks.dead_letters.documents import RedirectOut, of_redirect
from tasks.http import body
from tasks.http.access import allowed, caller_of
from tasks.http.dead_letters import ReasonIn
from tasks.http.schemas import answer
from tasks.models import Redirect

router = Router(tags=["dead letters"])


class RedirectIn(BaseModel, extra="forbid"):
    from_task: str = Field("", max_length=200, description="Empty: of every task.")
    from_queue: str = Field("", max_length=100, description="Empty: of every queue.")
    to_task: str = Field("", max_length=200, description="Empty: the same task.")
    to_queue: str = Field("", max_length=100, description="Empty: the task's own queue.")
    reason: str = Field(examples=["email-queue is full until noon"])


@router.get(
    "/dead-letters/redirects",
    response=list[RedirectOut],
    auth=allowed("dead_letters.view"),
    summary="List standing redirects",
)
def list_redirects(request: HttpRequest) -> HttpResponse:
    return answer([of_redirect(redirect) for redirect in redirects.standing()])


@router.post(
    "/dead-letters/redirects",
    response={201: RedirectOut},
    auth=allowed("dead_letters.redirect"),
    summary="Add a standing redirect",
    openapi_extra=body.documented(RedirectIn),
)
def add_redirect(request: HttpRequest) -> HttpResponse:
    """Counts for every replay from now on. A loop is refused."""
    asked = body.read(request, RedirectIn)
    redirect = redirects.add(**asked.model_dump(), requested_by=caller_of(request))
    return answer(of_redirect(redirect), status=201)


@router.delete(
    "/dead-letters/redirects/{int:redirect_id}",
    response={204: None},
    auth=allowed("dead_letters.redirect"),
    summary="Remove a standing redirect",
    openapi_extra=body.documented(ReasonIn, required=False),
)
def remove_redirect(request: HttpRequest, redirect_id: int) -> HttpResponse:
    """What it has moved stays where it is."""
    why = body.read(request, ReasonIn, may_be_empty=True)
    try:
        redirects.remove(redirect_id, requested_by=caller_of(request), reason=why.reason)
    except Redirect.DoesNotExist:
        raise Http404(f"there is no redirect {redirect_id}") from None
    return HttpResponse(status=204)
