"""Who did what, when, to how many and why: appended, never changed, and bound together so that a change shows.

Entries are numbered without a gap, and each one's digest covers its own columns and the digest of the entry before it
(a hash chain, as in Haber and Stornetta, "How to time-stamp a digital document", 1991).
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from tasks.errors import InvalidReason
from tasks.models import AuditEntry
from tasks.permissions import RIGHTS

NEEDS_REASON = {"dead_letters.discard": 1, "queues.purge": 1, "jobs.cancel": 2}
"""Verbs that destroy something, and from how many on nobody may do so without a reason."""

MAX_REASON = 500

_CHAIN = 7_162_846_921  # the advisory lock that puts entries in one order


def record(
    actor: str, verb: str, subject: object, *, count: int = 1, reason: str = "", detail: dict[str, Any] | None = None
) -> AuditEntry:
    """Append an entry, in the caller's transaction: the act and its entry are kept together, or neither is. Others who
    record wait for that transaction's end.

    ``verb`` is like "dead_letters.discard", ``subject`` an id, a filter's text or a queue's name. Raises InvalidReason
    as ``require_reason`` does.
    """
    require_reason(verb, reason, count=count)
    with transaction.atomic():
        if connection.vendor == "postgresql":  # SQLite has one writer anyway
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CHAIN])
        last = AuditEntry.objects.order_by("-id").first()
        entry = AuditEntry(
            id=last.id + 1 if last else 1,
            at=timezone.now(),
            actor=_storable(actor)[:200],
            verb=verb,
            subject=_storable(str(subject))[:200],
            count=count,
            reason=_storable(reason.strip()),
            detail=_storable(json.loads(json.dumps(detail or {}, default=str))),
            previous=last.digest if last else "",
        )
        entry.digest = digest_of(entry)
        entry.save(force_insert=True)
    return entry


def require_reason(verb: str, reason: str, *, count: int = 1) -> None:
    """For whoever does something that no transaction takes back before it records it. Raises InvalidReason where
    ``verb`` destroys something and nobody says why, or the reason is longer than MAX_REASON characters."""
    if count >= NEEDS_REASON.get(verb, count + 1) and not reason.strip():
        raise InvalidReason(f"say why: nobody may {RIGHTS[verb].words} without a reason")
    if len(reason.strip()) > MAX_REASON:
        raise InvalidReason(f"has {len(reason.strip())} characters and may have {MAX_REASON}")


def digest_of(entry: AuditEntry) -> str:
    """SHA-256, in hexadecimal, over the columns that an entry says something with."""
    at = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
    act = [at, entry.actor, entry.verb, entry.subject, entry.count, entry.reason, entry.detail]
    said = json.dumps([entry.id, entry.previous, *act], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(said.encode()).hexdigest()


@dataclass(frozen=True)
class Fault:
    """What is wrong with the entry numbered ``entry``."""

    entry: int
    what: str


def faults(*, first: int = 1) -> Iterator[Fault]:
    """The entries from number ``first`` on that are not as they were appended, or not there any more, in their order.
    The one before ``first`` is named where it does not fit.

    What was cut off at the end can not be told from what was never there: keep the last digest elsewhere, and ask
    whether it ``stands``."""
    last, last_was_intact, number = None, True, 1
    entries = AuditEntry.objects.order_by("id")
    if first > 1:
        last = entries.filter(id__lt=first).last()
        last_was_intact = last is None or last.digest == digest_of(last)
        number = max(last.id, 0) + 1 if last else 1
        entries = entries.filter(id__gte=first)
    for entry in entries.iterator():
        is_intact = entry.digest == digest_of(entry)
        follows = entry.previous == (last.digest if last else "")
        if number < entry.id:
            rest = f", and so is every entry up to {entry.id - 1}" if number + 1 < entry.id else ""
            yield Fault(number, f"is missing{rest}")
        elif is_intact and last_was_intact and not follows:
            # Both agree with their own digests: one of them was given a new one.
            yield Fault(
                last.id if last else entry.id, "was altered, and its digest with it: its neighbour does not fit"
            )
        if not is_intact:
            yield Fault(entry.id, "was altered: it does not fit its digest")
        last, last_was_intact, number = entry, is_intact, max(entry.id, 0) + 1


def stands(digest: str) -> bool:
    """Whether an entry still has ``digest``, which was the last one's when somebody wrote it down."""
    return AuditEntry.objects.filter(digest=digest).exists()


def _storable(value: Any) -> Any:
    """``value``, of JSON's types, as every database gives it back: without NUL and half surrogate pairs, and without
    numbers that PostgreSQL writes in other digits."""
    if isinstance(value, str):
        return value.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, float):
        plain = repr(value)
        return value + 0.0 if plain.replace(".", "").lstrip("-").isdecimal() else plain  # + 0.0: there is no -0.0
    return value
