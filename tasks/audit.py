"""Who did what, when, to how many and why: appended, never changed, and bound together so that a change shows.

Each entry's digest covers its own columns and the digest of the entry before it (a hash chain, as in Haber and
Stornetta, "How to time-stamp a digital document", 1991).
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from tasks.models import AuditEntry

_CHAIN = 7_162_846_921  # the advisory lock that puts entries in one order


def record(
    actor: str, verb: str, subject: object, *, count: int = 1, reason: str = "", detail: dict[str, Any] | None = None
) -> AuditEntry:
    """Append an entry, in the caller's transaction: the act and its entry are kept together, or neither is.

    ``verb`` is like "dead_letters.discard", ``subject`` an id, a filter's text or a queue's name.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":  # SQLite has one writer anyway
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CHAIN])
        last = AuditEntry.objects.order_by("-id").first()
        entry = AuditEntry(
            at=timezone.now(),
            actor=actor[:200],
            verb=verb,
            subject=str(subject)[:200],
            count=count,
            reason=reason[:500],
            detail=json.loads(json.dumps(detail or {}, default=str)),
            previous=last.digest if last else "",
        )
        entry.digest = digest_of(entry)
        entry.save(force_insert=True)
    return entry


def digest_of(entry: AuditEntry) -> str:
    """SHA-256, in hexadecimal, over the columns that an entry says something with."""
    at = entry.at.isoformat(timespec="microseconds")
    said = [entry.previous, at, entry.actor, entry.verb, entry.subject, entry.count, entry.reason, entry.detail]
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def altered() -> Iterator[tuple[AuditEntry, str]]:
    """The entries that are not as they were appended, oldest first, each with what is wrong with it. What was cut off
    at the end can not be told from what was never there: keep the last digest elsewhere to notice."""
    previous = ""
    for entry in AuditEntry.objects.order_by("id").iterator():
        if entry.previous != previous:
            yield entry, "does not follow the entry before it: one was removed, put in or altered"
        elif entry.digest != digest_of(entry):
            yield entry, "was altered"
        previous = entry.digest
