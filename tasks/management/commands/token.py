"""manage.py token create NAME --scope jobs:write …"""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError
from django.utils import timezone

from tasks.models import ApiToken
from tasks.permissions import SCOPES

MOST_PER_MINUTE = 2**31 - 1


class Command(BaseCommand):
    help = "Make a bearer token for the HTTP API and print it alone: it is shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["create"])
        parser.add_argument("name")
        parser.add_argument("--scope", action="append", choices=sorted(SCOPES), required=True, dest="scopes")
        parser.add_argument("--rate", type=int, help="requests a minute; 0: any number (default: API_RATE_PER_MINUTE)")
        parser.add_argument("--days", type=int, help="the token expires after so many days")

    def handle(self, *, name: str, scopes: list[str], days: int | None, rate: int | None, **_: Any) -> None:
        if days is not None and days < 1:
            raise CommandError("--days is at least 1")
        if rate is not None and not 0 <= rate <= MOST_PER_MINUTE:
            raise CommandError(f"--rate is 0 to {MOST_PER_MINUTE}")
        expires_at = timezone.now() + timedelta(days=days) if days else None
        try:
            text = ApiToken.issue(name, sorted(set(scopes)), expires_at=expires_at, rate_per_minute=rate)[1]
        except IntegrityError:
            raise CommandError(f"there is a token {name!r} already; choose another name") from None
        self.stdout.write(text)
