"""Who may call the HTTP API: a bearer token with the scope, or the session of a staff user with the permission."""

import time
from collections.abc import Callable, Iterable
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
        token = ApiToken.objects.filter(digest=digest, revoked_at=None).first()
        if token is None:
            self._known.pop(digest, None)
        else:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[digest] = (now + REMEMBERED_SECONDS, token)
        return token


recent_tokens = RecentTokens()


class Token(HttpBearer):
    """A bearer token that carries the scopes of ``verbs``. The caller is then `token:<name>`."""

    def __init__(self, *verbs: str):
        super().__init__()
        self.scopes = _scopes_of(verbs)

    def __call__(self, request: HttpRequest) -> str | None:
        """As HttpBearer does it, but past ``request.headers``, which would copy every header for the sake of one."""
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        return self.authenticate(request, token) if scheme.lower() == self.openapi_scheme else None

    def authenticate(self, request: HttpRequest, token: str) -> str | None:
        found, now = recent_tokens.find(token), timezone.now()
        if found is None or (found.expires_at and found.expires_at <= now):
            return None
        admit(request, found)
        _check_scopes(found, self.scopes)
        _note_use(found, now)
        request.api_token = found  # type: ignore[attr-defined]  # for ``require`` and ``may``
        return found.caller


class StaffSession(SessionAuth):
    """The session of a staff user who has the right to ``verbs``; unsafe methods need the CSRF token."""

    def __init__(self, *verbs: str):
        super().__init__()
        self.verbs = verbs

    def __call__(self, request: HttpRequest) -> str | None:
        if "HTTP_AUTHORIZATION" in request.META:  # a bad token is a bad token, not a missing CSRF token
            return None
        return super().__call__(request) if request.user.is_authenticated else None

    def authenticate(self, request: HttpRequest, key: str | None) -> str | None:
        user = request.user
        if not user.is_staff:
            return None
        if why := missing(user, *self.verbs):
            raise AuthorizationError(message=why)
        return user.get_username()


def allowed(*verbs: str) -> list[Any]:
    """Who may call what does all of ``verbs`` (permissions.RIGHTS): a token first, since it needs no session."""
    return [Token(*verbs), StaffSession(*verbs)]


def caller_of(request: HttpRequest) -> str:
    """Who has passed ``allowed``, as jobs keep it in ``requested_by``: a person's name, or `token:<name>`."""
    name: str = request.auth  # type: ignore[attr-defined]  # set by ninja: what the authenticator returned
    return name


def is_person(request: HttpRequest) -> bool:
    """Whether the caller came by a session: a token says what it may do, and not who holds it."""
    return _token_of(request) is None


def require(request: HttpRequest, *verbs: str) -> None:
    """For what only the body tells: the caller, who has passed ``allowed`` already, has the rights to ``verbs`` too.

    Raises AuthorizationError.
    """
    if (token := _token_of(request)) is None:
        if why := missing(request.user, *verbs):
            raise AuthorizationError(message=why)
        return
    _check_scopes(token, _scopes_of(verbs))


def may(request: HttpRequest, *verbs: str) -> bool:
    """Whether who was let in has the rights to ``verbs`` too. For what a door shows beyond what it is for."""
    try:
        require(request, *verbs)
    except AuthorizationError:
        return False
    return True


def _token_of(request: HttpRequest) -> ApiToken | None:
    token: ApiToken | None = getattr(request, "api_token", None)
    return token


def _scopes_of(verbs: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(RIGHTS[verb].scope for verb in verbs))


def _check_scopes(token: ApiToken, scopes: Iterable[str]) -> None:
    for scope in scopes:
        if not token.allows(scope):
            raise AuthorizationError(message=f"the token lacks the scope {scope}")


def _note_use(token: ApiToken, now: datetime) -> None:
    """Write the token's last use down, at most once a minute among all processes."""
    if token.last_used_at is None or now - token.last_used_at > LAST_USED_PAUSE:
        token.last_used_at = now
        unnoted = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_PAUSE)
        ApiToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=now)
