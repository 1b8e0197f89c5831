"""Who may do what: each verb of the services, the permission it takes, and the scope that a token needs for it.

One table for every door, so that a button, an API answer and a command tell the same.
"""

from dataclasses import dataclass
from functools import cache
from typing import Protocol

from django.apps import apps

from tasks.models import Operation


@dataclass(frozen=True)
class Right:
    """What it takes to do something. ``words`` complete "You may not …"."""

    permission: str
    scope: str
    words: str


def _right(permission: str, scope: str, words: str) -> Right:
    return Right(f"tasks.{permission}", scope, words)


RIGHTS: dict[str, Right] = {
    "jobs.view": _right("view_job", "jobs:read", "see jobs"),
    "jobs.view_all": _right("view_job", "jobs:read_all", "see the jobs of others"),
    "jobs.enqueue": _right("add_job", "jobs:write", "enqueue jobs"),
    "jobs.cancel": _right("cancel_job", "jobs:write", "cancel jobs"),
    "requests.view": _right("view_request", "requests:read", "see who waits for replies"),
    "dead_letters.view": _right("view_deadletter", "dead_letters:read", "see dead letters"),
    "dead_letters.unmask": _right("unmask_deadletter", "dead_letters:unmask", "see what is masked in dead letters"),
    "dead_letters.replay": _right("replay_deadletter", "dead_letters:replay", "replay dead letters"),
    "dead_letters.rehearse": _right("replay_deadletter", "dead_letters:replay", "rehearse dead letters"),
    "dead_letters.edit": _right("edit_deadletter", "dead_letters:edit", "edit dead letters"),
    "dead_letters.redirect": _right("edit_deadletter", "dead_letters:edit", "redirect dead letters"),
    "dead_letters.approve": _right("approve_deadletter", "dead_letters:approve", "approve the edits of others"),
    "dead_letters.reject": _right("approve_deadletter", "dead_letters:approve", "reject the edits of others"),
    "dead_letters.discard": _right("discard_deadletter", "dead_letters:discard", "discard dead letters"),
    "dead_letters.restore": _right("discard_deadletter", "dead_letters:discard", "restore discarded dead letters"),
    "groups.note": _right("change_failuregroup", "groups:write", "write to failure groups"),
    "groups.fix": _right("change_failuregroup", "groups:write", "declare failure groups fixed"),
    "groups.snooze": _right("change_failuregroup", "groups:write", "snooze failure groups"),
    "operations.view": _right("view_operation", "operations:read", "see operations on many"),
    "operations.start": _right("add_operation", "operations:write", "start operations on many"),
    "operations.pause": _right("add_operation", "operations:write", "pause operations on many"),
    "operations.resume": _right("add_operation", "operations:write", "resume operations on many"),
    "operations.cancel": _right("add_operation", "operations:write", "cancel operations on many"),
    "queues.view": _right("view_queue", "queues:read", "see queues"),
    "queues.pause": _right("pause_queue", "queues:write", "pause queues"),
    "queues.resume": _right("pause_queue", "queues:write", "resume queues"),
    "queues.purge": _right("purge_queue", "queues:purge", "purge queues"),
    "queues.restore": _right("purge_queue", "queues:purge", "restore purged queues"),
    "webhooks.view": _right("view_webhookendpoint", "webhooks:read", "see webhook endpoints"),
    "webhooks.add": _right("add_webhookendpoint", "webhooks:write", "add webhook endpoints"),
    "webhooks.change": _right("change_webhookendpoint", "webhooks:write", "change webhook endpoints"),
    "webhooks.rotate": _right("change_webhookendpoint", "webhooks:write", "rotate the secrets of webhook endpoints"),
    "webhooks.test": _right("change_webhookendpoint", "webhooks:write", "test webhook endpoints"),
    "webhooks.disable": _right("change_webhookendpoint", "webhooks:write", "disable webhook endpoints"),
    "webhooks.enable": _right("change_webhookendpoint", "webhooks:write", "enable webhook endpoints"),
    "webhooks.remove": _right("delete_webhookendpoint", "webhooks:write", "remove webhook endpoints"),
    "webhooks.hear_all": _right("hear_all_webhookendpoint", "webhooks:all", "have webhooks of everybody's jobs"),
    "audit.view": _right("view_auditentry", "audit:read", "see who did what"),
}
"""By verb. An operation on many takes two rights: its own verb's, and what it does to each (``of_operation``)."""

SCOPES: dict[str, frozenset[str]] = {
    right.scope: frozenset(each.permission for each in RIGHTS.values() if each.scope == right.scope)
    for right in RIGHTS.values()
}
"""By scope, the permissions that whoever gives it to a token must have."""

_OF_OPERATION: dict[str, str] = {
    Operation.Verb.REPLAY: "dead_letters.replay",
    Operation.Verb.DISCARD: "dead_letters.discard",
    Operation.Verb.RESTORE: "dead_letters.restore",
    Operation.Verb.PURGE: "queues.purge",
    Operation.Verb.UNPURGE: "queues.restore",
}


class User(Protocol):
    """Whoever has permissions, like Django's user."""

    def has_perm(self, perm: str) -> bool: ...


def missing(user: User, *verbs: str) -> str:
    """Why ``user`` may not do all of ``verbs``, with the permission to ask for; empty when they may. For the title of a
    disabled button, and the answer to whoever tries all the same."""
    for right in map(RIGHTS.__getitem__, verbs):
        if not user.has_perm(right.permission):
            return f"You may not {right.words}: ask for the permission {title(right.permission)}."
    return ""


def of_operation(verb: str) -> str:
    """The verb of RIGHTS that an operation (Operation.Verb) does to each of its set."""
    return _OF_OPERATION[verb]


def words_of(scope: str) -> str:
    """What a token with ``scope`` may do."""
    return ", ".join(right.words for right in RIGHTS.values() if right.scope == scope)


@cache
def title(permission: str) -> str:
    """A permission of the platform as the forms of Django list it: "Platform | job | Can add job"."""
    app = apps.get_app_config("tasks")
    for model in app.get_models():
        meta = model._meta
        names = {
            f"{action}_{meta.model_name}": f"Can {action} {meta.verbose_name}" for action in meta.default_permissions
        }
        names |= dict(meta.permissions)
        if name := names.get(permission.removeprefix("tasks.")):
            return f"{app.verbose_name} | {meta.verbose_name} | {name}"
    raise KeyError(f"no permission {permission!r}")
