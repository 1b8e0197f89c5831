"""manage.py audit verify|list"""

import json
from argparse import ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from tasks import audit, words
from tasks.models import AuditEntry
from tasks.moments import read_moment
from tasks.permissions import RIGHTS


class Command(BaseCommand):
    help = (
        "Verify that the trail of who did what is as it was written (exit 1 naming each entry that is not), or list "
        "it. Exit 2 when the database can not be read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        verify = actions.add_parser("verify", help="count the entries and print the last digest, or what is wrong")
        verify.add_argument(
            "--contains", metavar="DIGEST", help="one that an earlier verify printed: it must still be there"
        )
        listing = actions.add_parser("list", help="the newest entries first")
        listing.add_argument("--actor", help="exactly this person, token or command")
        listing.add_argument("--verb", choices=sorted(RIGHTS), metavar="VERB", help="like dead_letters.discard")
        listing.add_argument("--since", type=_moment, help="2026-03-01, 2026-03-01T12:30 (UTC), 30min, 2h, 3d or 1w")
        listing.add_argument("--limit", type=int, default=50, help="how many at most (50)")
        for each in (verify, listing):
            each.add_argument("--json", action="store_true", dest="as_json", help="print JSON for scripts")

    def handle(self, *, action: str, **options: Any) -> None:
        try:
            if action == "verify":
                self._verify(**options)
            else:
                self._list(**options)
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"the database can not be read: {str(error).strip()}", returncode=2) from error

    def _verify(self, *, contains: str | None, as_json: bool, **_: Any) -> None:
        count, last = AuditEntry.objects.count(), AuditEntry.objects.order_by("-id").first()
        digest = last.digest if last else ""
        found = list(audit.faults())
        lost = bool(contains) and not audit.stands(str(contains))
        if as_json:
            faults = [{"entry": fault.entry, "what": fault.what} for fault in found]
            told: dict[str, Any] = {"entries": count, "last_digest": digest, "faults": faults}
            self.stdout.write(json.dumps(told | ({"contains": not lost} if contains else {}), indent=2))
        else:
            for fault in found:
                self.stdout.write(f"entry {fault.entry} {fault.what}")
        if found:
            entries = f"{len(found):,} entries" if len(found) > 1 else f"entry {found[0].entry}"
            raise CommandError(f"{entries} of the audit trail can not be trusted")
        if lost:
            raise CommandError(f"no entry has the digest {contains} any more: the trail was cut off, or written anew")
        if not as_json:
            self.stdout.write(f"{count:,} entries, all as they were written. Last digest: {digest or 'none'}")

    def _list(
        self, *, actor: str | None, verb: str | None, since: datetime | None, limit: int, as_json: bool, **_: Any
    ) -> None:
        if limit < 1:
            raise CommandError("--limit is at least 1")
        asked = {"actor": actor, "verb": verb, "at__gte": since}
        given = {name: value for name, value in asked.items() if value is not None}
        entries = AuditEntry.objects.filter(**given).order_by("-id")[:limit]
        if as_json:
            self.stdout.write(json.dumps([_as_dict(entry) for entry in entries], indent=2))
            return
        for entry in entries:
            why = f"  “{entry.reason}”" if entry.reason else ""
            times = f" ({entry.count:,})" if entry.count != 1 else ""
            what = f"{entry.actor or 'nobody'}  {entry.verb}  {entry.subject}{times}{why}"
            self.stdout.write(words.printable(f"{entry.id:>6}  {entry.at:%Y-%m-%d %H:%M:%S}  {what}"))


def _moment(text: str) -> datetime:
    try:
        return read_moment(text, now=timezone.now())
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _as_dict(entry: AuditEntry) -> dict[str, Any]:
    names = ("id", "actor", "verb", "subject", "count", "reason", "detail", "digest")
    return {"at": entry.at.isoformat()} | {name: getattr(entry, name) for name in names}
