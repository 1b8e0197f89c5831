"""Which group a dead letter belongs to."""

from collections.abc import Iterator
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, OuterRef, QuerySet, Subquery

from tasks.dead_letters.masking import Mask
from tasks.dead_letters.signature import Signature, signature_of
from tasks.models import DeadLetter, FailureGroup, Job

ADOPTED_AT_ONCE = 500
MAX_KNOWN = 10_000

_known: set[UUID] = set()
"""Groups whose row is committed. They are never deleted, so one that was seen is there."""


def group_of(letter: DeadLetter) -> UUID:
    """The group of ``letter``, which need not be saved; founded, in the caller's transaction, by the first of its kind.

    Afterwards its row is neither written nor locked nor read: it may be the group of every failing worker.
    """
    mask = Mask()
    mask.payload(letter.task, letter.payload)
    mask.named(letter.headers)
    signature = signature_of(
        task=letter.task,
        reason=letter.reason,
        error_type=letter.error_type,
        error=mask.text(letter.error),
        traceback=letter.traceback,
        root=str(settings.BASE_DIR),
    )
    if signature.group_id not in _known:
        _found(signature, letter)
    return signature.group_id


def _found(signature: Signature, letter: DeadLetter) -> None:
    id = signature.group_id
    # Asked first: an insert would wait for whoever is just writing a note to the group.
    if not FailureGroup.objects.filter(pk=id).exists():
        group = FailureGroup(
            pk=id,
            task=letter.task,
            reason=letter.reason,
            error_type=letter.error_type,
            message=signature.message,
            frame=signature.frame,
            first_seen_at=letter.died_at,
        )
        FailureGroup.objects.bulk_create([group], ignore_conflicts=True)
    transaction.on_commit(lambda: _remember(id))  # rolled back, the row is gone again


def _remember(id: UUID) -> None:
    if len(_known) >= MAX_KNOWN:
        _known.clear()
    _known.add(id)


def adopt() -> int:
    """Give up to ADOPTED_AT_ONCE letters of an older build their payload and their group. Returns how many; the
    workers call it until none is left, and again for those that an older build buries during a deploy."""
    letters = list(_without_group())
    # Each founded in a transaction of its own: in a long one it would make those wait who bury into it.
    groups = {letter.pk: group_of(letter) for letter in letters}
    with transaction.atomic():
        ids = set(_unless_held(DeadLetter.objects.filter(pk__in=groups, group=None)))
        DeadLetter.objects.filter(pk__in=ids, payload__isnull=True, job__isnull=False).update(
            payload=Subquery(Job.objects.filter(pk=OuterRef("job_id")).values("payload")[:1])
        )
        members: dict[UUID, list[DeadLetter]] = {}
        for letter in letters:
            if letter.pk in ids:
                members.setdefault(groups[letter.pk], []).append(letter)
        for group_id, found in members.items():
            DeadLetter.objects.filter(pk__in=[letter.pk for letter in found]).update(group_id=group_id)
            oldest = min(letter.died_at for letter in found)
            FailureGroup.objects.filter(pk=group_id, first_seen_at__gt=oldest).update(first_seen_at=oldest)
    return len(ids)


def _without_group() -> Iterator[DeadLetter]:
    letters = DeadLetter.objects.filter(group=None).order_by("id").annotate(of_job=F("job__payload"))
    for letter in letters.defer("body", "headers", "properties", "evidence")[:ADOPTED_AT_ONCE]:
        letter.payload = letter.of_job if letter.payload is None else letter.payload
        yield letter


def _unless_held(letters: QuerySet[DeadLetter]) -> QuerySet[DeadLetter, UUID]:
    """The ids of those that nobody holds, another worker that adopts say; they are this transaction's now."""
    if connection.features.has_select_for_update_skip_locked:
        letters = letters.select_for_update(of=("self",), skip_locked=True, no_key=True)
    return letters.values_list("pk", flat=True)
