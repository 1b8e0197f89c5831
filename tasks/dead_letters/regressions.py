"""A fix that did not hold: its group is opened again, and somebody is told. Once.

The workers look for it every few seconds. A worker that fails does not: it would have to read the group's row, and the
release's, in the middle of its burial.
"""

import logging
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from tasks.dead_letters.releases import is_at_least
from tasks.dispatch import enqueue
from tasks.models import DeadLetter, FailureGroup, Release

logger = logging.getLogger(__name__)

MAIL = "platform.mail_admins"
MAX_RELEASES = 1000


def reopen() -> int:
    """Reopen each group that failed again in the release that was to have its fix, or in a later one. Returns how many
    this call reopened.

    The row is compared and set, so of all workers one reopens, and that one alerts: ``reopened_at``, which the console
    shows; an error in the log; and a mail to ADMINS, as a job in the same transaction. So a mail server that is away
    delays the mail and nothing else, no mail is sent for what was rolled back, and none is forgotten.
    """
    fixed = list(FailureGroup.objects.exclude(fixed_in_release="").filter(reopened_at=None))
    if not fixed:
        return 0
    first_seen = dict(Release.objects.values_list("name", "first_seen_at")[:MAX_RELEASES])
    return sum(_reopen_if_it_came_back(group, first_seen) for group in fixed)


def _reopen_if_it_came_back(group: FailureGroup, first_seen: dict[str, datetime]) -> bool:
    wanted = group.fixed_in_release
    should_have_it = [name for name in {*first_seen, wanted} if is_at_least(name, wanted, first_seen)]
    letters = DeadLetter.objects.filter(group=group, release__in=should_have_it, died_at__gte=group.fixed_at)
    letter = letters.order_by("died_at").values("pk", "release").first()
    if letter is None:
        return False
    with transaction.atomic():
        unchanged = FailureGroup.objects.filter(
            pk=group.pk, reopened_at=None, fixed_in_release=wanted, fixed_at=group.fixed_at
        )
        if not unchanged.update(reopened_at=Now(), snoozed_until=None):
            return False  # another worker was first, or a person decided anew
        text = _told(group, letter["pk"], letter["release"])
        if settings.ADMINS:
            enqueue(
                MAIL,
                {"subject": f"Failed again, though fixed in {wanted}: {group}"[:200], "text": text},
                idempotency_key=f"reopened:{group.pk}:{group.fixed_at:%Y-%m-%dT%H:%M:%S.%f}",
            )
        transaction.on_commit(lambda: logger.error("%s", text))
    return True


def _told(group: FailureGroup, letter_id: UUID, release: str) -> str:
    lines = [
        f"{group} was marked fixed in release {group.fixed_in_release}, and release {release} failed in the same way.",
        f"Error: {group.message or group.reason}",
        f"Code: {group.frame}" if group.frame else "",
        f"Owner: {group.owner}" if group.owner else "",
        f"Runbook: {group.runbook_url}" if group.runbook_url else "",
        f"Group {group.pk}, dead letter {letter_id}.",
    ]
    return "\n".join(filter(None, lines))
