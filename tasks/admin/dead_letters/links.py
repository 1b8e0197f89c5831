"""Ways from one page of the desk to another, and who may take them."""

from typing import Any
from uuid import UUID

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from tasks.permissions import missing


def url_of(view: str, *args: object, **asked: str) -> str:
    """The address of one of the admin's pages, ``asked`` as its query string; "" where no such page is installed."""
    try:
        address = reverse(f"admin:{view}", args=args)
    except NoReverseMatch:
        return ""
    return f"{address}?{urlencode(asked)}" if asked else address


def letters_url(query: str) -> str:
    """The list of letters that match."""
    return url_of("tasks_deadletter_changelist", q=query)


def require(request: HttpRequest, *verbs: str) -> None:
    """Raises PermissionDenied, which says what is missing."""
    if why_not := missing(request.user, *verbs):
        raise PermissionDenied(why_not)


def uuid_or_404(text: object) -> UUID:
    try:
        return UUID(str(text))
    except ValueError:
        raise Http404 from None


def page_context(admin: ModelAdmin, request: HttpRequest) -> dict[str, Any]:
    """What every page of the console needs around it."""
    request.current_app = admin.admin_site.name
    return {**admin.admin_site.each_context(request), "is_nav_sidebar_enabled": True, "opts": admin.opts}
