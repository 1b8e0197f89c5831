"""Lists in pages: an opaque cursor, and where the next and the previous page are, in the body and as RFC 8288 links."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tasks.errors import InvalidJob
from tasks.http import query
from tasks.http.query import Text
from tasks.http.schemas import answer
from tasks.seeking import Cursor, Page

Row = TypeVar("Row")
Item = TypeVar("Item")
Key = TypeVar("Key", int, UUID)

_MOST = 2**63 - 1


class PageQuery(BaseModel, extra="forbid"):
    limit: int = Field(25, ge=1, le=100, description="Rows of a page at most.")
    cursor: Text | None = Field(None, description="As a page's `next` or `previous` has it.")


class PageOut(TypedDict, Generic[Item]):
    items: list[Item]
    next: Annotated[
        str | None,
        Field(description="Address of the next page, if there is one: it may be there after a page that is not full."),
    ]
    previous: Annotated[str | None, Field(description="Address of the previous page.")]


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """For ``openapi_extra`` of an operation whose query string is ``model`` and whose answer is a page."""
    examples = ['</api/v1/jobs?cursor=bjAx>; rel="next"']
    link = {
        "description": "The next and the previous page, as RFC 8288 has it.",
        "schema": {"type": "string", "examples": examples},
    }
    return {"parameters": query.documented(model), "responses": {200: {"headers": {"Link": link}}}}


def cursor_of(given: PageQuery, key: type[Key]) -> Cursor | None:
    """The cursor as it was written. Raises InvalidJob where it is none of ours."""
    if given.cursor is None:
        return None
    try:
        text = urlsafe_b64decode(given.cursor + "=" * (-len(given.cursor) % 4)).decode("ascii")
        if text[:1] not in ("n", "p"):
            raise ValueError
        found = key(text[1:])
    except (ValueError, binascii.Error):
        message = "is none that a page had; leave it out to begin with the first page"
        raise InvalidJob([{"field": "cursor", "message": message}]) from None
    if isinstance(found, int) and not -1 <= found <= _MOST:
        raise InvalidJob([{"field": "cursor", "message": "lies outside of every list"}])
    return Cursor(found, forward=text[0] == "n")


def answer_page(request: HttpRequest, page: Page[Any], show: Callable[[Any], Any]) -> HttpResponse:
    """``page`` as JSON, each row as ``show`` has it."""
    links = {"next": _address(request, page.next), "previous": _address(request, page.previous)}
    response = answer({"items": [show(row) for row in page.rows], **links})
    relations = (("next", links["next"]), ("prev", links["previous"]))
    if told := ", ".join(f'<{address}>; rel="{name}"' for name, address in relations if address):
        response["Link"] = told
    return response


def _address(request: HttpRequest, cursor: Cursor | None) -> str | None:
    if cursor is None:
        return None
    query = request.GET.copy()
    text = f"{'n' if cursor.forward else 'p'}{cursor.key}"
    query["cursor"] = urlsafe_b64encode(text.encode()).decode().rstrip("=")
    return f"{request.path}?{query.urlencode()}"
