"""manage.py jobs: work, in a terminal"""

from tasks.management.action import Action, Actions
from tasks.management.grouped import GroupedCommand
from tasks.management.jobs import deciding, listing, outcomes, submitting, watching

ROOMS: dict[str, dict[str, Action | Actions]] = {
    "ask": {
        "submit": submitting.Submit(),
        "watch": watching.Watch(),
        "list": listing.List(),
    },
    "decide": {
        "cancel": deciding.Cancel(),
        "replay": deciding.Replay(),
    },
}


class Command(GroupedCommand):
    name = "jobs"
    help = f"Enqueue work, follow it, and decide about it. {outcomes.EXPLAINED} What is sensitive is masked."
    rooms = ROOMS
    spelled = {
        "delay_seconds": "--delay",
        "run_at": "--run-at",
        "expires_at": "--expires-at",
        "idempotency_key": "--idempotency-key",
        "correlation_id": "--correlation-id",
        "metadata": "--metadata",
        "requested_by": "--by",
        "task": "task",
    }
