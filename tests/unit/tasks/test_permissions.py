"""One table of who may do what, and the words that every door tells it in."""

import ast
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import CommandError, call_command

from tasks.models import Operation
from tasks.people import GROUPS
from tasks.permissions import RIGHTS, SCOPES, missing, of_operation, title, words_of

pytestmark = pytest.mark.django_db

SOURCE = Path(__file__).resolve().parents[3] / "tasks"

VERBS = [
    *(
        f"dead_letters.{verb}"
        for verb in ("view", "unmask", "replay", "edit", "approve", "reject", "discard", "restore")
    ),
    *("dead_letters.redirect", "dead_letters.rehearse", "audit.view", "requests.view"),
    *(f"queues.{verb}" for verb in ("view", "pause", "resume", "purge", "restore")),
    *(f"operations.{verb}" for verb in ("view", "start", "pause", "resume", "cancel")),
    *(f"groups.{verb}" for verb in ("note", "fix", "snooze")),
    *(f"jobs.{verb}" for verb in ("view", "view_all", "enqueue", "cancel")),
    *(
        f"webhooks.{verb}"
        for verb in ("view", "add", "change", "rotate", "test", "disable", "enable", "remove", "hear_all")
    ),
]


def someone(*codenames: str) -> User:
    user = User.objects.create_user("ann", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def recorded_verbs() -> set[str]:
    """The verbs that the services write to the audit trail, as their source has them."""
    trees = [ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    records = [call for call in calls if ast.unparse(call.func) == "audit.record" and len(call.args) > 1]
    return {call.args[1].value for call in records if isinstance(call.args[1], ast.Constant)}


def test_each_verb_of_the_services_takes_a_right():
    assert set(VERBS) | recorded_verbs() == set(RIGHTS)


@pytest.mark.parametrize("verb", VERBS)
def test_each_right_is_a_permission_that_django_knows_by_the_same_words(verb):
    codename = RIGHTS[verb].permission.removeprefix("tasks.")
    permission = Permission.objects.get(content_type__app_label="tasks", codename=codename)
    assert title(RIGHTS[verb].permission) == str(permission)


def test_one_permission_is_in_one_scope():
    given = [
        permission for scope, permissions in SCOPES.items() for permission in permissions if scope != "jobs:read_all"
    ]
    assert sorted(given) == sorted({right.permission for right in RIGHTS.values()})


def test_who_sees_the_jobs_in_the_admin_may_let_a_token_see_all_of_them():
    assert SCOPES["jobs:read_all"] == SCOPES["jobs:read"] == {"tasks.view_job"}


def test_who_may_write_jobs_may_cancel_them():
    assert SCOPES["jobs:write"] == {"tasks.add_job", "tasks.cancel_job"}


@pytest.mark.parametrize("verb", Operation.Verb.values)
def test_every_operation_on_many_does_something_that_takes_a_right(verb):
    assert of_operation(verb) in RIGHTS


def test_who_lacks_a_right_is_told_which():
    assert missing(someone(), "dead_letters.discard") == (
        "You may not discard dead letters: "
        "ask for the permission Platform | dead letter | Can discard and restore dead letters."
    )


def test_who_has_the_right_is_told_nothing():
    assert missing(someone("discard_deadletter"), "dead_letters.discard", "dead_letters.restore") == ""


def test_the_first_right_of_several_that_is_missing_is_told():
    user = someone("add_operation")
    assert missing(user, "operations.start", of_operation("purge")).startswith("You may not purge queues: ")


def test_nobody_who_is_inactive_may_do_anything():
    user = someone("discard_deadletter")
    user.is_active = False
    assert missing(user, "dead_letters.discard")


def test_a_scope_tells_what_a_token_may_do_with_it():
    assert words_of("dead_letters:discard") == "discard dead letters, restore discarded dead letters"


def test_a_permission_that_is_none_has_no_title():
    with pytest.raises(KeyError, match="no permission"):
        title("tasks.do_everything")


# Groups


def ensure(settings):
    settings.TASKS_OPERATOR_NAME, settings.TASKS_OPERATOR_PASSWORD = "operator", "x"
    call_command("ensure_operator", stdout=StringIO())


def test_a_fresh_operator_may_do_everything(settings):
    ensure(settings)
    assert missing(User.objects.get(username="operator"), *VERBS) == ""


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_may_do_what_it_is_for_and_no_more(settings, group):
    ensure(settings)
    user = someone()
    user.groups.add(Group.objects.get(name=group))
    may = {verb for verb in VERBS if not missing(user, verb)}
    assert may == set(GROUPS[group])


def test_what_people_have_made_of_a_group_stays(settings):
    ensure(settings)
    Group.objects.get(name="Operators").permissions.clear()
    Group.objects.get(name="Viewers").delete()
    ensure(settings)
    assert Group.objects.get(name="Operators").permissions.count() == 0
    assert Group.objects.get(name="Viewers").permissions.count() > 4


def test_an_operator_without_a_password_is_refused(settings):
    settings.TASKS_OPERATOR_PASSWORD = ""
    with pytest.raises(CommandError, match="OPERATOR_PASSWORD"):
        call_command("ensure_operator")
