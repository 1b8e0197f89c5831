"""What browsers need and a caller with a bearer token does not: a quarter of what a request would cost."""

from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.middleware.security import SecurityMiddleware
from django.utils.deprecation import MiddlewareMixin


class _ForBrowsers(MiddlewareMixin):
    def __call__(self, request: HttpRequest) -> Any:
        if request.path.startswith("/api/") and request.META.get("HTTP_AUTHORIZATION", "").startswith("Bearer "):
            return self.get_response(request)
        return super().__call__(request)


class BrowserSecurity(_ForBrowsers, SecurityMiddleware):
    """Headers that tell a browser what not to do with an answer."""


class BrowserSession(_ForBrowsers, SessionMiddleware):
    """``request.session``."""


class BrowserUser(_ForBrowsers, AuthenticationMiddleware):
    """``request.user``."""


class BrowserMessages(_ForBrowsers, MessageMiddleware):
    """Messages that the admin shows on the next page."""
