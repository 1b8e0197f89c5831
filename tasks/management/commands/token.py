"""manage.py token create|list|revoke"""

import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError, transaction
from django.utils import timezone

from tasks import words
from tasks.errors import IllegalTransition
from tasks.models import ApiToken
from tasks.permissions import SCOPES
from tasks.tokens import revoke

MOST_PER_MINUTE = 2**31 - 1
MOST_DAYS = 3660


class Command(BaseCommand):
    help = "Make a bearer token for the HTTP API, list those there are, or revoke one for good."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make one and print it alone: it is shown this once")
        create.add_argument("name")
        create.add_argument("--scope", action="append", choices=sorted(SCOPES), required=True, dest="scopes")
        create.add_argument("--rate", type=int, help="requests a minute; 0: any number (default: API_RATE_PER_MINUTE)")
        create.add_argument("--days", type=int, help=f"the token expires after so many days, 1 to {MOST_DAYS:,}")
        every = actions.add_parser("list", help="names, scopes and last use; no token is ever shown again")
        every.add_argument("--json", action="store_true", dest="as_json", help="print JSON for scripts")
        ended = actions.add_parser("revoke", help="it opens nothing any more, and its webhook endpoints are disabled")
        ended.add_argument("name")

    def handle(self, *, action: str, **options: Any) -> None:
        getattr(self, f"_{action}")(**options)

    def _create(self, *, name: str, scopes: list[str], days: int | None, rate: int | None, **_: Any) -> None:
        if days is not None and not 1 <= days <= MOST_DAYS:
            raise CommandError(f"--days is 1 to {MOST_DAYS:,}")
        if rate is not None and not 0 <= rate <= MOST_PER_MINUTE:
            raise CommandError(f"--rate is 0 to {MOST_PER_MINUTE}")
        expires_at = timezone.now() + timedelta(days=days) if days else None
        try:
            with transaction.atomic():
                text = ApiToken.issue(name, sorted(set(scopes)), expires_at=expires_at, rate_per_minute=rate)[1]
        except IntegrityError:
            message = f"a token has, or had, the name {name!r}, and jobs belong to it: choose another name"
            raise CommandError(message) from None
        self.stdout.write(text)

    def _list(self, *, as_json: bool, **_: Any) -> None:
        tokens = [_as_dict(token) for token in ApiToken.objects.order_by("name")]
        if as_json:
            self.stdout.write(json.dumps(tokens, indent=2, ensure_ascii=False))
            return
        for token in tokens:
            used = token["last_used_at"] or "never"
            line = f"{token['name']:<24} {token['condition']:<8} {', '.join(token['scopes'])}; last used: {used}"
            self.stdout.write(words.printable(line))

    def _revoke(self, *, name: str, **_: Any) -> None:
        try:
            revoke(name)
        except ApiToken.DoesNotExist:
            raise CommandError(f"there is no token {name!r}; `manage.py token list` names them") from None
        except IllegalTransition as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{name} is revoked; HTTP servers know it within five seconds")


def _as_dict(token: ApiToken) -> dict[str, Any]:
    expired = token.expires_at is not None and token.expires_at <= timezone.now()
    return {
        "name": token.name,
        "condition": "revoked" if token.revoked_at else "expired" if expired else "works",
        "scopes": token.scopes,
        "created_at": token.created_at.isoformat(),
        "expires_at": token.expires_at and token.expires_at.isoformat(),
        "last_used_at": token.last_used_at and token.last_used_at.isoformat(),
        "revoked_at": token.revoked_at and token.revoked_at.isoformat(),
    }
