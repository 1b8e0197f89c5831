from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tasks.admin.dead_letters import groups as pages
from tasks.admin.dead_letters.sparkline import in_words, sparkline
from tasks.models import AuditEntry, FailureGroup, Release
from tests.unit.tasks.admin.conftest import staff
from tests.unit.tasks.factories import letter_of, make_group

pytestmark = pytest.mark.django_db

LIST = "/admin/tasks/failuregroup/"
SEES = ("tasks.view_deadletter", "tasks.view_job")


def url_of(group):
    return f"{LIST}{group.pk}/change/"


def group(**values):
    made = make_group(**{"task": "case.plain", **values})
    letter_of(group=made, task="case.plain")
    return made


def listed(client, **asked):
    return {row["group"].pk for row in client.get(LIST, asked).context["rows"]}


def act(client, group, act, **given):
    answer = client.post(url_of(group), {"act": act, **given})
    group.refresh_from_db()
    return answer


def test_groups_are_listed_by_what_they_want(admin_client):
    week = timezone.now() + timedelta(weeks=1)
    found = {
        "open": group(),
        "reopened": group(fixed_in_release="2", reopened_at=timezone.now()),
        "snoozed": group(snoozed_until=week),
        "fixed": group(fixed_in_release="2"),
    }
    for status, each in found.items():
        assert listed(admin_client, status=status) == {each.pk}, status
    assert listed(admin_client) == {found["open"].pk, found["reopened"].pk}
    assert listed(admin_client, status="nonsense") == listed(admin_client)


def test_groups_are_listed_by_task(admin_client):
    mine, gone = group(), group(task="gone.task")
    group(task="probe.echo")
    assert listed(admin_client, task="case.plain") == {mine.pk}
    answer = admin_client.get(LIST, {"task": "gone.task"})
    assert {row["group"].pk for row in answer.context["rows"]} == {gone.pk}
    assert '<option value="gone.task" selected' in answer.content.decode()


def test_a_row_tells_what_failed_how_often_and_whose_it_is(admin_client):
    each = group(error_type="TimeoutError", message="no answer in <number> s <script>", owner="mail team",
                 frame="shop/mail.py send")  # fmt: skip
    letter_of(group=each, state="replayed")
    page = admin_client.get(LIST).content.decode()
    for piece in (
        "Plain work", "TimeoutError", "no answer in &lt;number&gt; s &lt;script&gt;", "mail team", "shop/mail.py send",
        "<dd>1</dd>", "<dd>2</dd>", 'role="img"', "2 in the last 24 hours, 2 in the last one", url_of(each),
    ):  # fmt: skip
        assert piece in page, piece


def test_a_reopened_one_stands_out_with_the_release_that_was_to_have_the_fix(admin_client):
    each = group(fixed_in_release="1.5.0", reopened_at=timezone.now() - timedelta(hours=2))
    for page in (admin_client.get(LIST).content.decode(), admin_client.get(url_of(each)).content.decode()):
        assert "1.5.0" in page
        assert "2 h ago" in page
        assert "Back, though fixed" in page
    dashboard = admin_client.get("/admin/").content.decode()
    assert "Fixes that did not hold" in dashboard
    assert url_of(each) in dashboard


def test_the_dashboard_is_quiet_while_fixes_hold(admin_client):
    group(fixed_in_release="1.5.0")
    assert "Fixes that did not hold" not in admin_client.get("/admin/").content.decode()


def test_who_may_not_see_letters_sees_no_groups(db):
    each = group(fixed_in_release="1", reopened_at=timezone.now())
    stranger = staff("stranger", "tasks.view_job")
    assert stranger.get(LIST).status_code == 403
    assert stranger.get(url_of(each)).status_code == 403
    assert "Fixes that did not hold" not in stranger.get("/admin/").content.decode()


def test_pages_lead_on_while_there_is_more(admin_client, monkeypatch):
    monkeypatch.setattr(pages, "PER_PAGE", 2)
    made = {group().pk for _ in range(3)}
    first = admin_client.get(LIST, {"task": "case.plain"})
    assert (first.context["previous"], first.context["next"]) == ("", "?task=case.plain&page=2")
    second = admin_client.get(f"{LIST}{first.context['next']}")
    assert (second.context["previous"], second.context["next"]) == ("?task=case.plain&page=1", "")
    seen = [row["group"].pk for answer in (first, second) for row in answer.context["rows"]]
    assert len(seen) == 3
    assert set(seen) == made


@pytest.mark.parametrize("page", ["0", "-1", "x", "²", "99999999999999999999"])
def test_a_page_that_is_none_is_the_first(admin_client, page):
    each = group()
    assert listed(admin_client, page=page) == {each.pk}


def test_the_list_costs_the_same_queries_for_many_groups(admin_client):
    def queries():
        with CaptureQueriesContext(connection) as made:
            admin_client.get(LIST)
        return len(made)

    group()
    few = queries()
    for _ in range(12):
        group()
    assert queries() == few


def test_a_page_has_the_signature_and_a_sample(admin_client):
    each = group(error_type="TimeoutError", message="no answer", frame="shop/mail.py send")
    sample = letter_of(group=each, task="case.plain", payload={"password": "hunter22"}, error="no hunter22",
                       error_type="TimeoutError", traceback="File <x>")  # fmt: skip
    page = admin_client.get(url_of(each)).content.decode()
    for piece in (
        "case.plain", "TimeoutError", "no answer", "shop/mail.py send", f"/admin/tasks/deadletter/{sample.pk}/change/",
        "TimeoutError: no ••••••", "File &lt;x&gt;", "As numbers", f"q=group%3A{each.pk}",
    ):  # fmt: skip
        assert piece in page, piece
    assert "hunter22" not in page


def test_a_group_whose_letters_are_deleted_keeps_its_page(admin_client):
    bare = make_group(task="", note="Ask ada")
    page = admin_client.get(url_of(bare)).content.decode()
    assert "All its letters are deleted" in page
    assert "Ask ada" in page


@pytest.mark.parametrize("id", ["01a208b4-a2ae-777b-a36a-1208ff58d8f7", "nonsense"])
def test_a_group_that_is_not_there_is_not_found(admin_client, id):
    assert admin_client.get(f"{LIST}{id}/change/").status_code == 404


# What people write


def test_people_note_owner_runbook_and_what_they_know(admin_client):
    each = group()
    answer = act(admin_client, each, "note", owner="ada", runbook_url="https://wiki.test/1", note="Ask\nfirst <b>")
    assert answer["Location"] == url_of(each)
    assert (each.owner, each.runbook_url, each.note.split()) == (
        "ada", "https://wiki.test/1", ["Ask", "first", "<b>"],
    )  # fmt: skip
    assert AuditEntry.objects.get().verb == "groups.note"
    page = admin_client.get(url_of(each)).content.decode()
    assert "first &lt;b&gt;" in page
    assert 'href="https://wiki.test/1"' in page


def test_a_runbook_that_is_no_address_is_told_at_its_field_and_the_rest_kept(admin_client):
    each = group()
    answer = act(admin_client, each, "note", owner="ada", runbook_url="javascript:alert(1)", note="Ask first")
    form = answer.context["forms"]["note"]
    assert list(form.errors) == ["runbook_url"]
    page = answer.content.decode()
    assert "Ask first" in page
    assert 'value="javascript:alert(1)"' in page
    assert 'href="javascript' not in page
    assert (each.owner, each.note) == ("", "")


@pytest.mark.parametrize(("span", "hours"), [("1h", 1), ("1d", 24), ("1w", 168)])
def test_a_group_is_snoozed_for_a_while_and_woken(admin_client, span, hours):
    each = group()
    act(admin_client, each, "snooze", for_how_long=span)
    assert abs(each.snoozed_until - timezone.now() - timedelta(hours=hours)) < timedelta(minutes=1)
    assert listed(admin_client) == set()
    assert "End the snooze" in admin_client.get(url_of(each)).content.decode()
    act(admin_client, each, "wake")
    assert each.snoozed_until is None
    assert listed(admin_client) == {each.pk}


def test_a_group_is_snoozed_until_a_moment(admin_client):
    each = group()
    act(admin_client, each, "snooze", for_how_long="until", until="2099-01-02T10:30")
    assert each.snoozed_until.isoformat() == "2099-01-02T10:30:00+00:00"


@pytest.mark.parametrize(
    ("until", "words"), [("", "Say until when"), ("2020-01-01T00:00", "is past"), ("soon", "valid date/time")]
)
def test_a_snooze_until_no_moment_to_come_is_told_at_its_field(admin_client, until, words):
    each = group()
    answer = act(admin_client, each, "snooze", for_how_long="until", until=until)
    errors = answer.context["forms"]["snooze"].errors
    assert list(errors) == ["until"]
    assert words in str(errors)
    assert each.snoozed_until is None


def test_a_group_is_marked_as_fixed_and_the_mark_taken_back(admin_client):
    each = group()
    Release.objects.create(name="1.4.1")
    assert '<option value="1.4.1">' in admin_client.get(url_of(each)).content.decode()
    act(admin_client, each, "fix", release="1.5.0")
    assert each.fixed_in_release == "1.5.0"
    assert listed(admin_client) == set()
    act(admin_client, each, "unfix")
    assert (each.fixed_in_release, each.fixed_at) == ("", None)
    assert list(AuditEntry.objects.values_list("verb", "actor")) == [("groups.fix", "admin")] * 2


@pytest.mark.parametrize("release", ["", "1.5.0"])
def test_a_fix_in_no_release_that_is_told_is_refused_at_its_field(admin_client, release):
    each = group()
    answer = act(admin_client, each, "fix", release=release)
    assert list(answer.context["forms"]["fix"].errors) == ["release"]
    assert each.fixed_in_release == ""


@pytest.mark.parametrize("name", ["note", "snooze", "wake", "fix", "unfix"])
def test_who_may_only_look_changes_nothing_and_is_told_what_is_missing(db, name):
    each = group(fixed_in_release="1")
    looker = staff("looker", *SEES)
    before = FailureGroup.objects.values().get()
    given = {"owner": "me", "for_how_long": "1h", "release": "2"}
    assert act(looker, each, name, **given).status_code == 403
    assert FailureGroup.objects.values().get() == before
    page = looker.get(url_of(each)).content.decode()
    assert page.count("<fieldset disabled>") == 3
    for words in ("write to failure groups", "declare failure groups fixed", "snooze failure groups"):
        assert f"You may not {words}: ask for the permission" in page


def test_an_unknown_act_changes_nothing(admin_client):
    each = group()
    assert act(admin_client, each, "delete").status_code == 403
    assert admin_client.post(f"{LIST}{each.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert FailureGroup.objects.exists()


# The drawing


def test_a_sparkline_draws_a_bar_for_each_hour_that_had_any():
    drawn = sparkline([0] * 20 + [1000, 0, 1, 500])
    assert drawn.count("<rect") == 3
    assert 'x="100" y="0" width="4" height="24"' in drawn
    assert 'height="2"' in drawn, "one among a thousand is still seen"
    assert "1,501 in the last 24 hours, 500 in the last one, at most 1,000 in one" in drawn


def test_a_sparkline_of_nothing_says_so():
    assert sparkline([0] * 24).count("<rect") == 0
    assert in_words([0] * 24) == "None in the last 24 hours"


# All its letters


def buttons_of(client, group):
    return {button.text: button for button in client.get(url_of(group)).context["buttons"]}


def test_all_letters_of_a_group_can_be_searched_replayed_and_discarded(admin_client):
    each, other = group(), group()
    buttons = buttons_of(admin_client, each)
    assert list(buttons) == ["Its letters", "Replay all of it", "Discard all of it"]
    found = admin_client.get(buttons["Its letters"].url).context["cl"].result_list
    assert {letter.group_id for letter in found} == {each.pk} != {other.pk}
    for verb, text in (("replay", "Replay all of it"), ("discard", "Discard all of it")):
        answer = admin_client.get(buttons[text].url)
        assert answer.status_code == 200
        assert answer.wsgi_request.GET.dict() == {"verb": verb, "q": f"group:{each.pk}"}


def test_a_group_of_which_nothing_is_open_offers_its_letters_alone(admin_client):
    each = make_group(task="case.plain")
    letter = letter_of(group=each, task="case.plain", state="replayed")
    buttons = buttons_of(admin_client, each)
    assert buttons["Replay all of it"].why_not == "None of its letters is open."
    found = admin_client.get(buttons["Its letters"].url).context["cl"].result_list
    assert [row.pk for row in found] == [letter.pk]


def test_all_of_a_group_takes_the_rights_of_an_operation(db):
    buttons = buttons_of(staff("looker", *SEES), group())
    for verb in ("Replay", "Discard"):
        assert buttons[f"{verb} all of it"].why_not.startswith("You may not start operations on many")
