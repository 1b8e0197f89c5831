import pytest
from django.utils.html import escape
from django.utils.http import urlencode

from tasks.admin.dashboard import open_letters
from tasks.api import task
from tasks.dead_letters import burial, discarding, replaying, search
from tasks.errors import BrokerUnavailable
from tasks.models import AuditEntry, DeadLetter, Job
from tasks.states import JobState
from tests.unit.tasks.admin.conftest import Plain, staff
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db

LIST = "/admin/tasks/deadletter/"


def buried(**values):
    return buried_as("case.plain", **values)


def buried_as(name, **values):
    job = make_job(JobState.RUNNING, task=name, attempt=1, **values)
    burial.bury(job, JobState.RUNNING, reason="exhausted", error_type="ValueError", error="no\nluck", traceback="tb")
    return DeadLetter.objects.get(job=job)


def message(**values):
    defaults = {"reason": "undecodable", "queue": "email-queue", "exchange": "email-exchange", "routing_key": "email",
                "body": b"\x00\xffnot json", "error": "body is not JSON"}  # fmt: skip
    return DeadLetter.objects.create(**{**defaults, **values})


def listed(response):
    return {letter.pk for letter in response.context["cl"].result_list}


def selected(client, action, letters, **more):
    data = {"action": action, "_selected_action": [str(letter.pk) for letter in letters], **more}
    return client.post(LIST, data, follow=True)


def found(client, query):
    return listed(client.get(LIST, {"q": query}))


def test_open_ones_are_listed_unless_asked_otherwise(admin_client):
    still_open, replayed = buried(), buried()
    DeadLetter.objects.filter(pk=replayed.pk).update(state="replayed")
    assert listed(admin_client.get(LIST)) == {still_open.pk}
    assert found(admin_client, "state:replayed") == {replayed.pk}
    assert found(admin_client, "state:all") == {still_open.pk, replayed.pk}


def test_a_row_names_reason_error_and_job(admin_client):
    letter = buried()
    page = admin_client.get(LIST).content.decode()
    for piece in ("Plain work", "No attempt left", "ValueError: no", f"/admin/tasks/job/{letter.job_id}/change/"):
        assert piece in page


def test_an_error_without_a_type_is_shown_without_a_colon(admin_client):
    message()
    assert ">body is not JSON<" in admin_client.get(LIST).content.decode()


def test_search_takes_a_job_id_or_words_of_the_error(admin_client):
    letter, other = buried(), message()
    assert found(admin_client, str(letter.job_id)) == {letter.pk}
    assert found(admin_client, "NOT json") == {other.pk}


def test_search_takes_the_query_language(admin_client):
    mine, other = buried(payload={"customer": {"id": 42}}), buried(payload={"customer": {"id": 7}})
    assert found(admin_client, "data.customer.id:42 task:case.* reason:exhausted after:1h") == {mine.pk}
    assert found(admin_client, f"group:{other.group_id}") == {mine.pk, other.pk}
    assert found(admin_client, "before:1h") == set()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("reason:bored luck", "&#x27;bored&#x27; is unknown"),
        ("after:soon", "is no moment"),
        ("colour:red", "is no field"),
        ('say "no', "without its second"),
        ("data.smtp.password:x", "can not be searched for"),
    ],
)
def test_a_search_that_can_not_be_understood_says_why_and_keeps_the_text(admin_client, query, words):
    letter = buried()
    response = admin_client.get(LIST, {"q": query})
    page = response.content.decode()
    assert response.status_code == 200
    assert listed(response) == set()
    assert words in page
    assert f'name="q" value="{escape(query)}"' in page
    assert "Nothing needs you" not in page
    assert admin_client.get(LIST, {"q": query}).context["cl"].found.number == 0
    assert found(admin_client, "") == {letter.pk}


def test_a_number_that_is_cut_off_is_told_as_such(admin_client, monkeypatch):
    monkeypatch.setattr(search, "MAX_COUNTED_WITH_WORDS", 2)
    for _ in range(3):
        buried()
    page = admin_client.get(LIST, {"q": "luck"}).content.decode()
    assert "<strong>2+</strong> match" in page
    assert "2 and more dead letters" in page
    assert "<strong>3</strong> match" in admin_client.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("given", "query"),
    [
        ({"state": "replayed"}, "state:replayed"),
        ({"queue": "email-queue"}, "queue:email-queue"),
        ({"q": "luck", "was": "luck", "reason": "expired"}, "luck reason:expired"),
        ({"q": "luck state:all", "was": "luck state:all", "state": "", "after": "1d"}, "luck after:1d"),
        # typed a moment ago, and not chosen: the select stands where the page had it
        ({"q": "state:replayed", "was": "", "state": ""}, "state:replayed"),
        ({"q": "reason:a reason:b", "was": "reason:a reason:b", "reason": "~"}, "reason:a reason:b"),
        ({"q": 'say "no', "was": 'say "no', "state": "all"}, 'say "no state:all'),
    ],
)
def test_a_select_writes_into_the_query_and_never_over_what_was_typed(admin_client, given, query):
    response = admin_client.get(LIST, given)
    assert (response.status_code, response["Location"]) == (302, f"?{urlencode({'q': query})}")


def test_a_select_for_a_task_means_its_earlier_names_too(admin_client):
    @task("case.renamed", payload=Plain, aliases=["case.old"])
    def work(payload, context):
        """Renamed."""

    new, old, _ = buried_as("case.renamed"), buried_as("case.old"), buried()
    response = admin_client.get(LIST, {"task": "case.renamed"}, follow=True)
    assert listed(response) == {new.pk, old.pk}
    chosen = next(each for each in response.context["cl"].filters if each["name"] == "task")["choices"]
    assert [value for value, _, is_chosen in chosen if is_chosen] == ["case.renamed"]


def test_a_select_shows_what_the_query_asks_for(admin_client):
    filters = admin_client.get(LIST, {"q": "state:all reason:expired reason:exhausted"}).context["cl"].filters
    chosen = {each["name"]: [value for value, _, is_chosen in each["choices"] if is_chosen] for each in filters}
    assert chosen == {"state": ["all"], "reason": ["~"], "task": [""], "queue": [""], "after": [""]}


def test_a_list_hides_in_an_error_what_the_payload_hides(admin_client):
    letter = buried(payload={"password": "hunter22"})
    DeadLetter.objects.filter(pk=letter.pk).update(error="login with hunter22 failed")
    for url in (LIST, "/admin/"):
        page = admin_client.get(url).content.decode()
        assert "login with •••••• failed" in page
        assert "hunter22" not in page


def test_the_list_costs_the_same_queries_for_many_rows(admin_client, django_assert_max_num_queries):
    for _ in range(15):
        buried()
    with django_assert_max_num_queries(6):
        admin_client.get(LIST)


def test_selected_ones_are_asked_about_before_they_are_replayed(admin_client):
    letters = [buried(), buried()]
    page = selected(admin_client, "replay_selected", letters).content.decode()
    assert "Replay 2 dead letters?" in page
    assert DeadLetter.objects.filter(state="open").count() == 2


def test_confirmed_ones_are_replayed(admin_client):
    letters = [buried(), buried()]
    page = selected(admin_client, "replay_selected", letters, confirmed="yes").content.decode()
    assert "2 dead letters replayed." in page
    assert set(Job.objects.values_list("state", flat=True)) == {JobState.QUEUED}


def test_what_can_not_be_replayed_is_named_and_the_rest_done(admin_client):
    good, bad = buried(), message(exchange="")
    page = selected(admin_client, "replay_selected", [good, bad], confirmed="yes").content.decode()
    assert "1 dead letter replayed." in page
    assert "1 not replayed." in page
    assert "no exchange to send it to" in page
    bad.refresh_from_db()
    assert bad.state == "open"


def test_a_broker_that_is_down_is_asked_once_and_jobs_are_still_replayed(admin_client, monkeypatch):
    asked = []

    def refuse(letter, queue):
        asked.append(letter)
        raise BrokerUnavailable("connection refused")

    monkeypatch.setattr(replaying, "_publish_again", refuse)
    letters = [message(), message(), buried()]
    page = selected(admin_client, "replay_selected", letters, confirmed="yes").content.decode()
    assert len(asked) == 1
    assert "1 dead letter replayed." in page
    assert "2 not replayed." in page


def test_the_sidebar_counts_the_open_ones():
    assert open_letters() == ""
    buried()
    message()
    assert open_letters() == "2"


def test_selected_ones_are_discarded_for_a_reason_alone(admin_client):
    letters = [buried(), buried()]
    page = selected(admin_client, "discard_selected", letters).content.decode()
    assert "Discard 2 dead letters?" in page
    assert "Say why" not in page
    page = selected(admin_client, "discard_selected", letters, confirmed="yes", reason=" ").content.decode()
    assert "Say why" in page
    assert DeadLetter.objects.filter(state="open").count() == 2
    page = selected(admin_client, "discard_selected", letters, confirmed="yes", reason="twins").content.decode()
    assert "2 dead letters discarded." in page
    assert set(DeadLetter.objects.values_list("state", "discarded_by")) == {("discarded", "admin")}
    assert set(AuditEntry.objects.values_list("verb", "reason")) == {("dead_letters.discard", "twins")}


def test_who_may_only_look_is_offered_no_act_on_selected_ones(viewer):
    letter = buried()
    page = viewer.get(LIST).content.decode()
    assert "replay_selected" not in page
    assert "discard_selected" not in page
    selected(viewer, "discard_selected", [letter], confirmed="yes", reason="x")
    letter.refresh_from_db()
    assert letter.state == "open"


def test_links_of_other_pages_name_a_queue_in_the_query(admin_client):
    letter = message()
    buried()
    rows = admin_client.get("/admin/tasks/job/dashboard/").context["queues"]
    url = next(row["letters_url"] for row in rows if row["name"] == letter.queue)
    assert listed(admin_client.get(url)) == {letter.pk}


# All that match, however many pages they fill


def on_all(client, query):
    return {button.text: button for button in client.get(LIST, {"q": query}).context["buttons"]}


def test_buttons_lead_to_an_operation_on_all_that_match(admin_client):
    buried()
    buttons = on_all(admin_client, "luck task:case.*")
    assert list(buttons) == ["Replay all that match", "Discard all that match"]
    for verb, button in zip(("replay", "discard"), buttons.values(), strict=True):
        assert button.why_not == ""
        answer = admin_client.get(button.url)
        assert (answer.status_code, answer.wsgi_request.GET.dict()) == (200, {"verb": verb, "q": "luck task:case.*"})


def test_discarded_ones_are_offered_to_be_restored(admin_client):
    letter = buried()
    discarding.discard(letter.pk, requested_by="grace", reason="twin")
    buttons = on_all(admin_client, "state:discarded")
    assert list(buttons) == ["Restore all that match"]
    assert admin_client.get(buttons["Restore all that match"].url).status_code == 200


@pytest.mark.parametrize(
    ("query", "words"),
    [("unheard", "Nothing matches."), ("after:soon", "Mend the search first."), ("state:replayed", "replayed already")],
)
def test_a_button_that_could_do_nothing_says_why(admin_client, query, words):
    DeadLetter.objects.filter(pk=buried().pk).update(state="replayed")
    page = admin_client.get(LIST, {"q": query}).content.decode()
    assert words in page
    assert "verb=replay" not in page


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        ((), "You may not start operations on many"),
        (("tasks.add_operation",), "You may not replay dead letters"),
        (("tasks.add_operation", "tasks.replay_deadletter"), ""),
    ],
)
def test_an_operation_on_all_takes_both_rights(db, rights, words):
    buried()
    client = staff("grace", "tasks.view_deadletter", *rights)
    button = on_all(client, "")["Replay all that match"]
    assert button.why_not.startswith(words) if words else button.why_not == ""
    page = client.get(LIST).content.decode()
    assert ("verb=replay" in page) == (not words)
    assert words in page
