"""Who may call the HTTP API: a bearer token with the scope, or the session of a staff user with the permission."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from ninja.errors import AuthorizationError
from ninja.security import HttpBearer, SessionAuth

from tasks.http.throttling import admit
from tasks.models import ApiToken
from tasks.permissions import RIGHTS, missing

LAST_USED_PAUSE = timedelta(minutes=1)
REMEMBERED_SECONDS = 5.0
MOST_REMEMBERED = 1000


class RecentTokens:
    """Tokens looked up a moment ago, so that a busy caller costs one query every few seconds and not one a request.

    What changes in a token's row (revoked, another scope) counts after REMEMBERED_SECONDS at most; its expiry counts at
    once, and a text that is no token is looked up each time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._known: dict[str, tuple[float, ApiToken]] = {}  # until when it may be believed, by the digest of its text

    def find(self, text: str) -> ApiToken | None:
        """The token with this text, expired or not; None where there is none."""
        digest, now = ApiToken.digest_of(text), self._clock()
        until, token = self._known.get(digest, (0.0, None))
        if token is not None and now < until:
            return token
        token = ApiToken.objects.filter(digest=digest).first()
        if token is None:
            self._known.pop(digest, None)
        else:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[digest] = (now + REMEMBERED_SECONDS, token)
        return token


recent_tokens = RecentTokens()


class Token(HttpBearer):
    """A bearer token that carries ``scope``. The caller is then `token:<name>`."""

    def __init__(self, scope: str):
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> str | None:
        """As HttpBearer does it, but past ``request.headers``, which would copy every header for the sake of one."""
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        return self.authenticate(request, token) if scheme.lower() == self.openapi_scheme else None

    def authenticate(self, request: HttpRequest, token: str) -> str | None:
        found, now = recent_tokens.find(token), timezone.now()
        if found is None or (found.expires_at and found.expires_at <= now):
            return None
        admit(request, found)
        if not found.allows(self.scope, now=now):
            raise AuthorizationError(message=f"the token lacks the scope {self.scope}")
        _note_use(found, now)
        request.api_token = found  # type: ignore[attr-defined]  # for ``may``
        return f"token:{found.name}"


class StaffSession(SessionAuth):
    """The session of a staff user who has the right to ``verb``; unsafe methods need the CSRF token."""

    def __init__(self, verb: str):
        super().__init__()
        self.verb = verb

    def __call__(self, request: HttpRequest) -> str | None:
        if "HTTP_AUTHORIZATION" in request.META:  # a bad token is a bad token, not a missing CSRF token
            return None
        return super().__call__(request) if request.user.is_authenticated else None

    def authenticate(self, request: HttpRequest, key: str | None) -> str | None:
        user = request.user
        if not user.is_staff:
            return None
        if why := missing(user, self.verb):
            raise AuthorizationError(message=why)
        return user.get_username()


def allowed(verb: str) -> list[Any]:
    """Who may call what does ``verb`` (permissions.RIGHTS): a token first, since it needs no session."""
    return [Token(RIGHTS[verb].scope), StaffSession(verb)]


def caller_of(request: HttpRequest) -> str:
    """Who was let in, as jobs keep it in ``requested_by``."""
    caller: str = request.auth  # type: ignore[attr-defined]  # set by ninja: what the authenticator returned
    return caller


def may(request: HttpRequest, verb: str) -> bool:
    """Whether who was let in may do what ``verb`` is too. For what a door shows beyond what it is for."""
    token: ApiToken | None = getattr(request, "api_token", None)
    return RIGHTS[verb].scope in token.scopes if token else not missing(request.user, verb)


def _note_use(token: ApiToken, now: datetime) -> None:
    """Write the token's last use down, at most once a minute among all processes."""
    if token.last_used_at is None or now - token.last_used_at > LAST_USED_PAUSE:
        token.last_used_at = now
        unnoted = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_PAUSE)
        ApiToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=now)
