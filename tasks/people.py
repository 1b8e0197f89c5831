"""Groups of people to begin with. Who belongs to which, and what each may do, is the administrators' from then on."""

from django.contrib.auth.models import Group, Permission
from django.db import transaction

from tasks.permissions import RIGHTS

_SEES = ("jobs.view", "jobs.view_all", "dead_letters.view", "operations.view", "queues.view", "audit.view")
_REPAIRS = (
    "jobs.enqueue",
    "jobs.cancel",
    "dead_letters.replay",
    "dead_letters.rehearse",
    "dead_letters.edit",
    "dead_letters.redirect",
    "dead_letters.discard",
    "dead_letters.restore",
    "groups.note",
    "groups.fix",
    "groups.snooze",
    "operations.start",
    "operations.pause",
    "operations.resume",
    "operations.cancel",
    "queues.pause",
    "queues.resume",
    "queues.purge",
    "queues.restore",
    "webhooks.view",
    "webhooks.add",
    "webhooks.change",
    "webhooks.rotate",
    "webhooks.test",
    "webhooks.disable",
    "webhooks.enable",
    "webhooks.remove",
    "webhooks.hear_all",
)

GROUPS: dict[str, tuple[str, ...]] = {
    "Viewers": _SEES,
    "Operators": _SEES + _REPAIRS,
    "Approvers": (*_SEES, "dead_letters.approve", "dead_letters.reject"),
}
"""The verbs of each. Nobody may unmask to begin with: that is a person's right, not a role's."""

_PAGES = ("view_batch", "view_failuregroup", "view_redirect", "view_workerprocess")


def ensure_groups() -> None:
    """Make those of GROUPS that are missing. One that exists stays as it is, whatever people have made of it."""
    for name, verbs in GROUPS.items():
        with transaction.atomic():
            group, is_new = Group.objects.get_or_create(name=name)
            if is_new:
                codenames = {RIGHTS[verb].permission.removeprefix("tasks.") for verb in verbs}
                ours = Permission.objects.filter(content_type__app_label="tasks")
                group.permissions.set(ours.filter(codename__in=codenames.union(_PAGES)))
