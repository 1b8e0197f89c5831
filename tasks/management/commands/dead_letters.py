"""manage.py dead_letters: the recovery desk in a terminal"""

from tasks.management.action import Action, Actions
from tasks.management.dead_letters import (
    deciding,
    editing,
    finding,
    grouping,
    one_by_one,
    operating,
    purging,
    redirecting,
    rehearsing,
    showing,
)
from tasks.management.grouped import GroupedCommand

ROOMS: dict[str, dict[str, Action | Actions]] = {
    "find": {
        "list": finding.List(),
        "groups": grouping.Groups(),
        "group": grouping.Group(),
    },
    "understand": {
        "show": showing.Show(),
        "rehearse": rehearsing.Rehearse(),
    },
    "repair": {
        "replay": one_by_one.Replay(),
        "edit": editing.Edit(),
        "repair": editing.Repair(),
        "edits": deciding.Edits(),
        "approve": deciding.Approve(),
        "reject": deciding.Reject(),
        "discard": one_by_one.Discard(),
        "restore": one_by_one.Restore(),
        "redirects": redirecting.ACTIONS,
    },
    "many at once": {
        "operation": operating.ACTIONS,
        "purge": purging.Purge(),
    },
}


class Command(GroupedCommand):
    name = "dead_letters"
    help = (
        "Find dead letters, see why they died, and do something about them. Exit 1 when something was refused, or did "
        "not go well; 2 when it was typed wrong, or the database can not be asked. What is sensitive is masked."
    )
    rooms = ROOMS
    spelled = {name: f"--{name}" for name in ("reason", "task", "queue")}
