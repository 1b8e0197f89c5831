"""Letters that nobody wants any more: parked for a while, in which they can be restored, and then deleted.

Nothing of a parked letter changes but its state, so it is restored with its place in all lists and its headers. Its job
stays dead. The prune deletes both.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from tasks import audit
from tasks.errors import IllegalTransition
from tasks.models import DeadLetter
from tasks.states import JobState

State = DeadLetter.State


def discard(letter_id: UUID, *, requested_by: str, reason: str) -> DeadLetter:
    """Park the open letter until its ``delete_at``, DEAD_LETTER_KEEP_DAYS from now.

    Raises DeadLetter.DoesNotExist, InvalidReason without a reason, IllegalTransition unless the letter is open.
    """
    audit.require_reason("dead_letters.discard", reason)
    with transaction.atomic():
        letter = DeadLetter.objects.select_for_update(of=("self",)).get(pk=letter_id)
        if not discard_all([letter_id], requested_by=requested_by):
            raise IllegalTransition(f"the dead letter is {letter.state}, not open")
        audit.record(requested_by, "dead_letters.discard", letter_id, reason=reason)
    return DeadLetter.objects.get(pk=letter_id)


def restore(letter_id: UUID, *, requested_by: str) -> DeadLetter:
    """Open the discarded letter again, as it was.

    Raises DeadLetter.DoesNotExist; IllegalTransition unless it is discarded, its ``delete_at`` has not come and its
    job, if it has one, is dead.
    """
    with transaction.atomic():
        letter = DeadLetter.objects.select_for_update(of=("self",)).select_related("job").get(pk=letter_id)
        if not restore_all([letter_id]):
            if letter.state != State.DISCARDED:
                raise IllegalTransition(f"the dead letter is {letter.state}, not discarded")
            if letter.job is not None and letter.job.state != JobState.DEAD:
                raise IllegalTransition(f"the dead letter's job is {letter.job.state}, not dead")
            raise IllegalTransition(f"the dead letter could be restored until {letter.delete_at:%c} UTC")
        audit.record(requested_by, "dead_letters.restore", letter_id)
    return DeadLetter.objects.get(pk=letter_id)


def discard_all(letter_ids: Sequence[UUID], *, requested_by: str) -> set[UUID]:
    """Park those of the letters that are open, without a word in the audit trail. Which these were."""
    now = timezone.now()
    with transaction.atomic():
        ids = _hold(letter_ids, Q(state=State.OPEN))
        DeadLetter.objects.filter(pk__in=ids).update(
            state=State.DISCARDED,
            discarded_at=now,
            discarded_by=requested_by[:200],
            delete_at=now + timedelta(days=settings.TASKS_DEAD_LETTER_KEEP_DAYS),
        )
    return ids


def restore_all(letter_ids: Sequence[UUID]) -> set[UUID]:
    """Open again those of the letters that can be restored, without a word in the audit trail. Which these were."""
    with transaction.atomic():
        is_parked = Q(state=State.DISCARDED, delete_at__gt=timezone.now())
        ids = _hold(letter_ids, is_parked & (Q(job=None) | Q(job__state=JobState.DEAD)))
        DeadLetter.objects.filter(pk__in=ids).update(
            state=State.OPEN, discarded_at=None, discarded_by="", delete_at=None
        )
    return ids


def _hold(letter_ids: Sequence[UUID], which: Q) -> set[UUID]:
    """Those of the letters that are as asked for, locked; whoever holds one meanwhile decides what becomes of it."""
    letters = DeadLetter.objects.filter(which, pk__in=letter_ids)
    return set(letters.select_for_update(skip_locked=True, of=("self",)).values_list("pk", flat=True))
