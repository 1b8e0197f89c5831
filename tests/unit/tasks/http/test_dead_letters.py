"""The recovery desk over HTTP: the services' words, rights for each verb, and a problem for all that is refused."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tasks.dead_letters import preflight
from tasks.models import ApiToken, AuditEntry, DeadLetter, FailureGroup, Job, LetterEdit, Operation, Redirect, Release
from tasks.permissions import SCOPES
from tasks.states import JobState
from tests.unit.tasks.factories import letter_of, make_group, make_job, make_letter, make_message_letter

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]

ROOT = "/api/v1/dead-letters"


@pytest.fixture
def call(client: Client):
    """An answer to whoever has a token with every scope but those ``without``."""

    def send(method: str, address: str, body: Any = None, *, without: tuple[str, ...] = ()):
        scopes = [scope for scope in SCOPES if scope not in without]
        text = ApiToken.issue(uuid4().hex, scopes)[1]
        data = {"data": "" if body is None else json.dumps(body), "content_type": "application/json"}
        data = {} if method == "get" else data
        url = address if address.startswith("/") else f"{ROOT}/{address}"
        return getattr(client, method)(url, **data, headers={"Authorization": f"Bearer {text}"})

    return send


@pytest.fixture
def person(client: Client):
    """Log somebody in with these permissions."""

    def login(name: str, *codenames: str) -> Client:
        user = User.objects.create_user(name, is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(user)
        return client

    return login


def fields(answer: Any) -> list[str]:
    assert answer["Content-Type"] == "application/problem+json"
    return [error["field"] for error in answer.json()["errors"]]


def test_pages_lead_from_the_newest_to_the_oldest_and_no_letter_is_shown_twice(call):
    letters = [letter_of() for _ in range(5)]
    seen, address = [], ROOT + "?limit=2&q=task:probe.echo"
    while address:
        page = call("get", address).json()
        assert page["count"] == {"number": 5, "is_capped": False}
        seen += [item["id"] for item in page["items"]]
        address = page["next"]
    assert seen == [str(letter.pk) for letter in reversed(letters)]


def test_a_search_finds_what_the_query_asks_for(call):
    found = letter_of(payload={"customer": {"id": 42}, "text": "a"})
    letter_of(payload={"customer": {"id": 43}, "text": "a"})
    letter_of(payload={"customer": {"id": 42}}, state="discarded")
    items = call("get", ROOT + "?q=data.customer.id:42").json()["items"]
    assert [item["id"] for item in items] == [str(found.pk)]


@pytest.mark.parametrize("query", ["q=nope:1", "q=after:yesterday", "limit=0", "cursor=x", "state=asleep"])
def test_a_query_that_can_not_be_understood_names_what_is_wrong(call, query):
    answer = call("get", f"{ROOT}?{query}")
    assert (answer.status_code, len(fields(answer))) == (422, 1)


def test_a_list_costs_the_same_queries_for_many_letters(call, django_assert_max_num_queries):
    for _ in range(20):
        letter_of()
    with django_assert_max_num_queries(8):
        assert len(call("get", ROOT).json()["items"]) == 20


def test_what_is_sensitive_is_masked_in_lists_and_letters_until_somebody_unmasks_it(call):
    letter = letter_of(payload={"password": "hunter22"}, error_type="ValueError", error="bad password hunter22")
    assert call("get", ROOT).json()["items"][0]["error"] == "ValueError: bad password ••••••"
    masked = call("get", f"{letter.pk}").json()
    assert (masked["payload"], masked["error"]) == ({"password": "••••••"}, "bad password ••••••")
    refused = call("post", f"{letter.pk}/unmask", without=("dead_letters:unmask",))
    assert (refused.status_code, refused.json()["detail"]) == (403, "the token lacks the scope dead_letters:unmask")
    seen = call("post", f"{letter.pk}/unmask", {"reason": "asked for by the customer"})
    assert seen.json()["payload"] == {"password": "hunter22"}
    assert seen["Cache-Control"] == "no-store"
    assert AuditEntry.objects.get().reason == "asked for by the customer"


def test_a_letter_is_replayed_where_it_is_sent(call):
    letter = letter_of()
    answer = call("post", f"{letter.pk}/replay", {"queue": "priority-queue"})
    assert (answer.status_code, answer.json()["state"]) == (200, "replayed")
    assert Job.objects.values_list("state", "queue").get(pk=letter.job_id) == ("queued", "priority-queue")
    again = call("post", f"{letter.pk}/replay")
    assert (again.status_code, again.json()["title"]) == (409, "Not possible in the present state")


def test_nothing_is_discarded_without_a_reason_and_what_is_can_be_restored(call):
    letter = letter_of()
    assert fields(call("post", f"{letter.pk}/discard")) == ["reason"]
    gone = call("post", f"{letter.pk}/discard", {"reason": "test data"}).json()
    assert (gone["state"], gone["delete_at"] is not None) == ("discarded", True)
    assert call("post", f"{letter.pk}/restore").json()["state"] == "open"


@pytest.mark.parametrize("verb", ["replay", "discard", "restore", "edit", "rehearse", "unmask"])
def test_each_verb_takes_its_scope_and_says_which_letters_there_are_not(call, verb):
    scope = {"restore": "discard", "rehearse": "replay"}.get(verb, verb)
    body = {"payload": {}, "reason": "x"} if verb == "edit" else {"reason": "x"} if verb == "discard" else {}
    refused = call("post", f"{uuid4()}/{verb}", body, without=(f"dead_letters:{scope}",))
    assert (refused.status_code, refused.json()["detail"]) == (403, f"the token lacks the scope dead_letters:{scope}")
    assert call("post", f"{uuid4()}/{verb}", body).status_code == 404


def test_a_payload_is_edited_and_the_difference_is_told(call):
    letter = make_letter(payload={"text": "a"}, task="probe.echo")
    answer = call("post", f"{letter.pk}/edit", {"payload": {"text": "b"}, "reason": "a typo"}).json()
    assert answer["state"] == "applied"
    assert {"field": "text", "kind": "changed", "before": "a", "after": "b"} in answer["changes"]
    assert Job.objects.get(pk=letter.job_id).payload["text"] == "b"
    assert [edit["id"] for edit in call("get", f"{letter.pk}/edits").json()] == [answer["id"]]


def test_a_message_is_repaired_as_text(call):
    letter = make_message_letter(body=b'{"type": "probe.echo", "data": {"text": "a"}', reason="undecodable")
    broken = call("post", f"{letter.pk}/edit", {"text": "{", "reason": "cut off"})
    assert (broken.status_code, fields(broken)) == (422, ["text"])
    text = '{"type": "probe.echo", "data": {"text": "a"}}'
    answer = call("post", f"{letter.pk}/edit", {"text": text, "reason": "cut off"}).json()
    assert Job.objects.get(pk=answer["job"]).payload["text"] == "a"


@pytest.mark.parametrize("body", [{"reason": "x"}, {"payload": {}, "text": "", "reason": "x"}])
def test_an_edit_is_a_payload_or_a_text(call, body):
    assert call("post", f"{letter_of().pk}/edit", body).status_code == 422


def test_an_edit_is_approved_by_a_second_person_and_by_no_token(call, person, settings):
    settings.TASKS_EDIT_APPROVAL = True
    letter = make_letter(payload={"text": "a"}, task="probe.echo")
    edit = call("post", f"{letter.pk}/edit", {"payload": {"text": "b"}, "reason": "a typo"}).json()
    assert edit["state"] == "proposed"
    refused = call("post", f"edits/{edit['id']}/approve")
    assert (refused.status_code, "by a person" in refused.json()["detail"]) == (403, True)
    approver = person("grace", "view_deadletter", "approve_deadletter")
    assert approver.post(f"{ROOT}/edits/{edit['id']}/approve").json()["state"] == "applied"
    assert approver.post(f"{ROOT}/edits/{edit['id']}/approve").status_code == 409


def test_who_made_an_edit_does_not_approve_it(person, settings):
    settings.TASKS_EDIT_APPROVAL = True
    letter = make_letter(payload={"text": "a"}, task="probe.echo")
    editor = person("ada", "view_deadletter", "approve_deadletter", "edit_deadletter")
    data = json.dumps({"payload": {"text": "b"}, "reason": "a typo"})
    edit = editor.post(f"{ROOT}/{letter.pk}/edit", data, content_type="application/json").json()
    answer = editor.post(f"{ROOT}/edits/{edit['id']}/approve")
    assert (answer.status_code, "a second person" in answer.json()["detail"]) == (409, True)
    refused = editor.post(f"{ROOT}/edits/{edit['id']}/reject", "{}", content_type="application/json")
    assert refused.json()["state"] == "rejected"
    assert LetterEdit.objects.get().state == "rejected"


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("{letter}/replay", {}),
        ("{letter}/discard", {"reason": "x"}),
        ("{letter}/restore", {}),
        ("{letter}/rehearse", {}),
        ("{letter}/edit", {"payload": {"text": "b"}, "reason": "a typo"}),
        ("edits/{letter}/approve", {}),
        ("edits/{letter}/reject", {}),
    ],
)
def test_who_may_not_see_letters_learns_nothing_from_acting_on_them(call, address, body):
    letter = letter_of()
    refused = call("post", address.format(letter=letter.pk), body, without=("dead_letters:read",))
    assert (refused.status_code, refused.json()["detail"]) == (403, "the token lacks the scope dead_letters:read")
    assert DeadLetter.objects.get().state == "open"


@pytest.mark.django_db(transaction=True)
def test_a_rehearsal_is_masked_unless_somebody_may_unmask_it(call):
    letter = make_letter(task="probe.secret", payload={"text": "a", "password": "hunter22"})
    address = f"{letter.pk}/rehearse"
    seen = call("post", address, without=("dead_letters:unmask",)).json()
    assert (seen["verdict"], seen["outcome"]["result"], seen["is_masked"]) == ("passed", "a ••••••", True)
    assert call("post", address, {"unmask": True}, without=("dead_letters:unmask",)).status_code == 403
    assert call("post", address, {"unmask": True}).json()["outcome"]["result"] == "a hunter22"
    assert AuditEntry.objects.get().verb == "dead_letters.unmask"
    assert DeadLetter.objects.get().state == "open"


def test_groups_are_listed_read_and_written_to_with_the_right_to_each(call):
    group = make_group(message="order <number>")
    letter_of(group=group)
    (shown,) = call("get", "groups").json()["items"]
    assert (shown["id"], shown["open"], len(shown["trend"])) == (str(group.pk), {"number": 1, "is_capped": False}, 24)
    change = {"owner": "payments", "runbook_url": "https://wiki.example/7", "snoozed_until": "2999-01-01T00:00:00Z"}
    refused = call("patch", f"groups/{group.pk}", change, without=("groups:write",))
    assert (refused.status_code, FailureGroup.objects.get().owner) == (403, "")
    assert call("patch", f"groups/{group.pk}", change).json()["status"] == "snoozed"
    assert call("get", "groups?status=snoozed").json()["items"][0]["owner"] == "payments"
    cleared = call("patch", f"groups/{group.pk}", {"owner": None, "snoozed_until": None}).json()
    assert (cleared["owner"], cleared["status"], cleared["runbook_url"]) == ("", "open", "https://wiki.example/7")


def test_of_a_change_that_is_partly_wrong_nothing_is_kept(call):
    group = make_group()
    answer = call("patch", f"groups/{group.pk}", {"owner": "ada", "snoozed_until": "2020-01-01T00:00:00Z"})
    assert (fields(answer), FailureGroup.objects.get().owner) == (["snoozed_until"], "")
    Release.objects.create(name="1.4")
    assert call("patch", f"groups/{group.pk}", {"fixed_in_release": "1.5"}).json()["status"] == "fixed"
    assert call("patch", f"groups/{uuid4()}", {"owner": "ada"}).status_code == 404


def test_an_operation_is_looked_at_started_steered_and_followed(call):
    letters = [letter_of() for _ in range(3)]
    letter_of(task="gone.task")
    make_job(JobState.DEAD, pk=None)
    asked = {"verb": "replay", "query": "task:probe.echo"}
    seen = call("post", "preflight", asked).json()
    assert (seen["matched"], seen["will"], seen["skipped"]) == (3, 3, {})
    started = call("post", "operations", {**asked, "steps": [1, 2], "rate_per_second": "fastest"})
    operation = started.json()
    assert (started.status_code, started["Location"]) == (202, f"{ROOT}/operations/{operation['id']}")
    assert (operation["state"], operation["total"], operation["rate_per_second"]) == ("running", len(letters), None)
    assert [step["size"] for step in operation["steps"]] == [1, 2]
    address = f"operations/{operation['id']}"
    assert [call("post", f"{address}/{verb}").json()["state"] for verb in ("pause", "resume", "cancel")] == [
        "paused", "running", "cancelled",
    ]  # fmt: skip
    assert call("post", f"{address}/resume").status_code == 409
    assert call("get", address).json()["verdict"].startswith("cancelled by token:")
    assert [item["id"] for item in call("get", "operations").json()["items"]] == [operation["id"]]


def test_what_dies_after_the_look_is_not_in_the_operation(call):
    letter_of()
    query = call("post", "preflight", {"verb": "replay", "query": {"task": "probe.echo"}}).json()["query"]
    letter_of()
    assert call("post", "operations", {"verb": "replay", "query": query}).json()["total"] == 1


def test_the_look_knows_the_pace_that_the_replay_would_keep(call, monkeypatch):
    # given
    for _ in range(5):
        letter_of()
    monkeypatch.setattr(preflight, "drain_seconds", lambda work, share: 0.25)
    asked = {"verb": "replay", "query": ""}

    # when
    seconds = {
        rate: call("post", "preflight", asked | {"rate_per_second": rate}).json()["drain_seconds"]
        for rate in (None, 0.5, "fastest")
    }

    # then
    assert seconds == {None: 0.5, 0.5: 10.0, "fastest": 0.25}


def test_a_rate_for_what_goes_at_once_is_refused_at_the_look_already(call):
    refused = call("post", "preflight", {"verb": "discard", "query": "", "rate_per_second": 3})
    assert refused.status_code == 422
    assert "discard goes at once" in refused.content.decode()


def test_what_would_be_left_out_is_told_with_samples(call):
    good, bad = letter_of(), letter_of()
    Job.objects.filter(pk=bad.job_id).update(task="gone.task")
    seen = call("post", "preflight", {"verb": "replay", "query": {"queue": "work-queue"}}).json()
    assert (seen["will"], seen["skipped"]) == (1, {"unknown_task": 1})
    assert seen["samples"]["unknown_task"] == [{"letter": str(bad.pk), "why": "no task 'gone.task' in this build"}]
    assert DeadLetter.objects.get(pk=good.pk).state == "open"


@pytest.mark.parametrize("scope", ["operations:write", "dead_letters:discard"])
def test_an_operation_takes_the_right_to_start_one_and_that_of_its_verb(call, scope):
    letter_of()
    asked = {"verb": "discard", "query": "", "reason": "old"}
    refused = call("post", "operations", asked, without=(scope,))
    assert (refused.status_code, refused.json()["detail"]) == (403, f"the token lacks the scope {scope}")
    operation = call("post", "operations", asked).json()
    if scope != "operations:write":
        assert call("post", f"operations/{operation['id']}/pause", without=(scope,)).status_code == 403


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"verb": "discard", "query": ""}, "reason"),
        ({"verb": "replay", "query": "nope:1"}, "nope"),
        ({"verb": "replay", "query": "", "steps": [0]}, "steps"),
        ({"verb": "replay", "query": "task:none"}, "query"),
        ({"verb": "explode", "query": ""}, "verb"),
        ({"verb": "unpurge", "query": {"operation": "x"}}, "operation"),
    ],
)
def test_an_operation_that_makes_no_sense_is_refused_at_its_field(call, asked, field):
    letter_of()
    answer = call("post", "operations", asked)
    assert (answer.status_code, fields(answer)) == (422, [field])
    assert not Operation.objects.exists()


def test_a_queue_is_purged_and_put_back(call, django_capture_on_commit_callbacks):
    job = make_job()
    assert fields(call("post", "/api/v1/queues/work-queue/purge")) == ["reason"]
    assert fields(call("post", "/api/v1/queues/nope/purge", {"reason": "x"})) == ["queue"]
    with django_capture_on_commit_callbacks(execute=True):
        purge = call("post", "/api/v1/queues/work-queue/purge", {"reason": "a flood"}).json()
    assert Job.objects.get(pk=job.pk).state == "cancelled"
    with django_capture_on_commit_callbacks(execute=True):
        back = call("post", "operations", {"verb": "unpurge", "query": {"operation": purge["id"]}})
    assert (back.status_code, back.json()["undoes"]) == (202, purge["id"])
    assert Job.objects.get(pk=job.pk).state == "queued"


def test_redirects_are_added_listed_and_removed(call):
    asked = {"from_queue": "work-queue", "to_queue": "priority-queue", "reason": "work-queue is full"}
    added = call("post", "redirects", asked)
    assert added.status_code == 201
    assert fields(call("post", "redirects", asked)) == ["from_queue"]
    assert fields(call("post", "redirects", {"to_queue": "nope", "reason": ""})) == ["to_queue", "from_task", "reason"]
    assert [item["id"] for item in call("get", "redirects").json()] == [added.json()["id"]]
    assert call("delete", f"redirects/{added.json()['id']}").status_code == 204
    assert call("delete", f"redirects/{added.json()['id']}").status_code == 404
    assert not Redirect.objects.exists()


def test_somebody_without_a_right_is_told_which_is_missing(person):
    letter = letter_of()
    viewer = person("vera", "view_deadletter")
    assert viewer.get(f"{ROOT}/{letter.pk}").status_code == 200
    refused = viewer.post(f"{ROOT}/{letter.pk}/replay")
    assert refused.status_code == 403
    assert refused.json()["detail"].startswith("You may not replay dead letters: ask for the permission")


def test_a_broker_that_is_away_is_told_and_nothing_changes(call, monkeypatch):
    from tasks.dead_letters import replaying
    from tasks.errors import BrokerUnavailable

    def away(*_: Any) -> None:
        raise BrokerUnavailable("no broker at amqp://localhost")

    monkeypatch.setattr(replaying, "_publish_again", away)
    letter = make_message_letter()
    answer = call("post", f"{letter.pk}/replay")
    assert (answer.status_code, answer.json()["detail"]) == (503, "no broker at amqp://localhost")
    assert answer["Retry-After"]
    assert DeadLetter.objects.get().state == "open"
