"""Standing redirects, by the pages."""

import html
import re

import pytest

from tasks.dead_letters import redirects
from tasks.models import AuditEntry, Redirect
from tests.unit.tasks.admin.conftest import staff
from tests.unit.tasks.factories import make_letter

pytestmark = pytest.mark.django_db

LIST = "/admin/tasks/redirect/"
REDIRECTOR = ("tasks.view_redirect", "tasks.edit_deadletter")


@pytest.fixture
def redirector(db):
    return staff("ada", *REDIRECTOR, "tasks.view_deadletter", "tasks.replay_deadletter", "tasks.add_operation")


def add(**values):
    return redirects.add(**{"requested_by": "ada", "reason": "it was renamed", **values})


def test_the_list_says_from_where_to_where_why_and_for_how_many(redirector):
    add(from_task="gone.task", to_task="probe.echo", to_queue="sms-queue")
    for _ in range(2):
        make_letter(task="gone.task")
    page = redirector.get(LIST).content.decode()
    for piece in ("<code>gone.task</code>", "<code>sms-queue</code>", "it was renamed", "ada", ">2 letters<"):
        assert piece in page, piece
    assert "/admin/tasks/deadletter/?q=task%3Agone.task" in page


def test_the_list_costs_the_same_queries_for_many_letters(redirector, django_assert_max_num_queries):
    add(from_task="gone.task", to_task="probe.echo")
    for _ in range(12):
        make_letter(task="gone.task")
    with django_assert_max_num_queries(8):
        redirector.get(LIST)


def test_a_redirect_is_added_and_what_it_applies_to_offered_for_replay(redirector):
    make_letter(task="gone.task", queue="work-queue")
    asked = {"from_task": "gone.task", "from_queue": "work-queue", "to_task": "probe.echo", "reason": "renamed"}
    page = redirector.post(f"{LIST}add/", asked, follow=True).content.decode()
    new = Redirect.objects.get()
    assert (new.from_task, new.to_task, new.created_by, new.reason) == ("gone.task", "probe.echo", "ada", "renamed")
    assert "The redirect stands" in page


def test_the_replay_of_those_it_applies_to_is_one_step_away(redirector):
    for _ in range(2):
        make_letter(task="gone.task")
    asked = {"from_task": "gone.task", "to_task": "probe.echo", "reason": "renamed"}
    page = redirector.post(f"{LIST}add/", asked, follow=True).content.decode()
    link = re.search(r'href="([^"]+)">Replay the 2 letters that it applies to</a>', page)
    preflight = redirector.get(html.unescape(link[1]))
    assert (preflight.status_code, preflight.context["found"].will) == (200, 2)


def test_a_wrong_one_tells_each_fault_at_its_field_and_keeps_what_was_typed(redirector):
    response = redirector.post(f"{LIST}add/", {"from_task": "typed", "reason": ""})
    form = response.context["form"]
    assert set(form.errors) == {"to_task", "reason"}
    assert form["from_task"].value() == "typed"
    assert "Nothing was added" in response.content.decode()
    response = redirector.post(f"{LIST}add/", {"to_queue": "no-queue", "reason": "x"})
    assert "to_queue" in response.context["form"].errors
    assert not Redirect.objects.exists()


def test_a_loop_is_told_at_its_field(redirector):
    add(from_task="probe.echo", to_task="probe.nap")
    response = redirector.post(
        f"{LIST}add/", {"from_task": "probe.nap", "to_task": "probe.echo", "reason": "back again"}
    )
    assert "makes a loop" in str(response.context["form"].errors["to_task"])
    assert Redirect.objects.count() == 1


def test_a_redirect_is_removed_once_confirmed_and_with_a_reason(redirector):
    redirect = add(from_task="gone.task", to_task="probe.echo")
    make_letter(task="gone.task")
    url = f"{LIST}{redirect.pk}/delete/"
    assert url in redirector.get(LIST).content.decode()
    assert "Remove this redirect?" in redirector.get(url).content.decode()
    response = redirector.post(url, {"reason": " "})
    assert list(response.context["form"].errors) == ["reason"]
    assert Redirect.objects.exists()
    redirector.post(url, {"reason": "all is replayed"})
    assert not Redirect.objects.exists()
    entry = AuditEntry.objects.order_by("-id").first()
    assert (entry.actor, entry.verb, entry.reason) == ("ada", "dead_letters.redirect", "all is replayed")
    assert redirector.post(url, {"reason": "again"}).status_code == 404


def test_who_may_look_may_not_change(db):
    redirect = add(from_task="gone.task", to_task="probe.echo")
    looker = staff("looker", "tasks.view_redirect")
    page = looker.get(LIST).content.decode()
    assert f"{redirect.pk}/delete/" not in page
    page = looker.get(f"{LIST}{redirect.pk}/change/").content.decode()
    assert "it was renamed" in page
    assert "You may not redirect dead letters" in page
    assert looker.post(f"{LIST}{redirect.pk}/change/", {"to_task": "probe.nap"}).status_code == 403
    assert looker.get(f"{LIST}add/").status_code == 403
    assert looker.post(f"{LIST}add/", {"from_task": "a.b", "to_task": "probe.echo", "reason": "x"}).status_code == 403
    assert looker.post(f"{LIST}{redirect.pk}/delete/", {"reason": "x"}).status_code == 403
    assert Redirect.objects.count() == 1
    nobody = staff("nobody")
    assert nobody.get(LIST).status_code == 403
    assert nobody.get(f"{LIST}{redirect.pk}/change/").status_code == 403


@pytest.mark.parametrize("which", ["0", "x", "9" * 40])
def test_a_redirect_that_there_is_not_is_not_found(redirector, which):
    assert redirector.get(f"{LIST}{which}/delete/").status_code == 404
