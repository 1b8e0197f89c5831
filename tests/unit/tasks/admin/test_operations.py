"""Operations on many in the console: looked at, started, watched, held, undone."""

import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from tasks.admin.dead_letters import progress
from tasks.dead_letters import operations
from tasks.dead_letters.pacing import RATE_PER_SECOND
from tasks.dead_letters.preflight import Preflight
from tasks.models import AuditEntry, DeadLetter, Job, Operation, OperationItem
from tasks.states import JobState
from tests.unit.tasks.admin.conftest import staff
from tests.unit.tasks.factories import letter_of, make_job, make_message_letter, make_worker

pytestmark = pytest.mark.django_db

LIST = "/admin/tasks/operation/"
State = OperationItem.State
PACE = {"steps": "1, 5, 25", "rate_per_second": "10", "stop_percent": "20", "reason": ""}


def start_url(verb: str = "replay", query: str = "") -> str:
    return f"{LIST}start/?{urlencode({'verb': verb, 'q': query})}"


def page_of(client: Any, url: str) -> str:
    return client.get(url).content.decode()


def as_of(page: str) -> str:
    found = re.search(r'name="as_of" value="([^"]+)"', page)
    assert found
    return found[1]


def dead(**values: Any) -> DeadLetter:
    return letter_of(make_job(JobState.DEAD, **{"task": "case.plain", **values}))


def make_operation(number: int = 3, verb: str = "replay", **values: Any) -> Operation:
    for _ in range(number):
        dead()
    return operations.start(verb, {}, requested_by="ada", **values)


def settle(operation: Operation, *states: str) -> Operation:
    """Its first items become ``states``, and its counts follow."""
    items = list(operation.items.order_by("place"))
    for item, state in zip(items, states, strict=False):
        OperationItem.objects.filter(pk=item.pk).update(state=state, why=f"why {state}")
    counted = [item.state for item in operation.items.all()]
    operation.waiting, operation.sent = counted.count(State.PENDING), counted.count(State.SENT)
    operation.done, operation.failed = counted.count(State.DONE), counted.count(State.FAILED)
    operation.step = 1
    operation.save()
    return operation


# Before it goes


def test_the_look_counts_what_it_would_act_on_and_names_what_it_leaves_out(admin_client):
    for _ in range(6):
        dead()
    unknown = dead(task="gone.gone")
    dead(payload={"text": 7})
    dead(expires_at=timezone.now() - timedelta(hours=1))
    message = make_message_letter(body=None)
    response = admin_client.get(start_url())
    found = response.context["found"]
    assert (found.matched, found.will, response.context["left_out"]) == (10, 6, 4)
    page = response.content.decode()
    for piece in (
        "Task unknown to this build", "Payload fails today&#x27;s schema", "Expired", "Holds no message to send",
        f"/admin/tasks/deadletter/{unknown.pk}/change/", f"/admin/tasks/deadletter/{message.pk}/change/",
        "no task &#x27;gone.gone&#x27; in this build", "Replay 6 letters",
    ):  # fmt: skip
        assert piece in page, piece


def test_a_look_changes_nothing(admin_client):
    dead()
    admin_client.get(start_url())
    assert not Operation.objects.exists()
    assert not AuditEntry.objects.exists()


def test_what_was_looked_at_is_what_is_confirmed_whatever_dies_meanwhile(admin_client):
    seen = [dead() for _ in range(6)]
    page = page_of(admin_client, start_url())
    for _ in range(100):
        dead()
    response = admin_client.post(start_url(), {**PACE, "as_of": as_of(page)})
    operation = Operation.objects.get()
    assert response.url == f"{LIST}{operation.pk}/change/"
    assert set(operation.items.values_list("letter_id", flat=True)) == {letter.pk for letter in seen}


def test_a_query_with_an_end_of_its_own_keeps_it_as_a_moment(admin_client):
    old = dead()
    DeadLetter.objects.filter(pk=old.pk).update(died_at=timezone.now() - timedelta(days=2))
    dead()
    admin_client.post(start_url(query="before:1d"), PACE)
    operation = Operation.objects.get()
    bound = datetime.fromisoformat(operation.query.removeprefix("before:"))
    assert timedelta(days=1) <= timezone.now() - bound < timedelta(days=1, minutes=1)
    assert operation.total == 1


def test_the_page_says_how_long_it_would_take(admin_client, monkeypatch):
    dead()
    assert "Nobody can say" in page_of(admin_client, start_url())  # no worker, no attempt ever
    monkeypatch.setattr("tasks.dead_letters.preflight.drain_seconds", lambda work, share: 90.0)
    assert "About 1 min 30 s" in page_of(admin_client, start_url())


def test_a_look_that_ran_out_of_time_says_how_far_it_came(admin_client, monkeypatch):
    for _ in range(3):
        dead()
    seen = Preflight(matched=3, judged=2)
    monkeypatch.setattr("tasks.dead_letters.preflight.look", lambda verb, query, rate_per_second: seen)
    page = page_of(admin_client, start_url())
    assert "first 2 of 3" in page
    assert "Replay up to 3" in page


def test_the_pace_that_was_asked_for_is_the_operations(admin_client):
    dead()
    given = {"steps": "2 4", "rate_per_second": "2.5", "stop_percent": "50", "reason": "mended in 1.4"}
    admin_client.post(start_url(), given)
    operation = Operation.objects.get()
    assert (operation.steps, operation.rate_per_second, operation.stop_ratio) == ([2, 4], 2.5, 0.5)
    assert (operation.reason, operation.requested_by) == ("mended in 1.4", "admin")


def test_empty_boxes_mean_no_canary_no_rate_and_no_stop(admin_client):
    dead()
    admin_client.post(start_url(), {"steps": "", "rate_per_second": "", "stop_percent": "", "reason": ""})
    operation = Operation.objects.get()
    assert (operation.steps, operation.rate_per_second) == ([], None)
    assert "never" in page_of(admin_client, f"{LIST}{operation.pk}/change/")
    assert "no canary; as fast as it can" in page_of(admin_client, f"{LIST}{operation.pk}/change/")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"steps": "1, many"}, "steps"),
        ({"steps": "1, 0"}, "steps"),
        ({"rate_per_second": "-3"}, "rate_per_second"),
        ({"rate_per_second": "fast"}, "rate_per_second"),
        ({"stop_percent": "120"}, "stop_percent"),
        ({"reason": "x" * 501}, "reason"),
    ],
)
def test_a_problem_stands_at_its_field_and_nothing_typed_is_lost(admin_client, given, field):
    dead()
    response = admin_client.post(start_url(query="case"), {**PACE, "reason": "mended", **given})
    form = response.context["form"]
    assert list(form.errors) == [field]
    assert {name: form[name].value() for name in PACE} == {**PACE, "reason": "mended", **given}
    assert response.context["typed"] == "case"
    assert not Operation.objects.exists()


def test_a_discard_asks_for_a_reason(admin_client):
    letter = dead()
    page = page_of(admin_client, start_url("discard"))
    assert 'title="Required"' in page
    assert 'name="steps"' not in page
    response = admin_client.post(start_url("discard"), {"reason": "  "})
    assert "say why" in str(response.context["form"].errors["reason"])
    admin_client.post(start_url("discard"), {"reason": "of the old shop"})
    assert Operation.objects.get().reason == "of the old shop"
    letter.refresh_from_db()
    assert letter.state == "open"  # until the transaction of this test commits


def test_a_query_that_makes_no_sense_is_told_with_its_remedy(admin_client):
    for method in (admin_client.get, admin_client.post):
        response = method(start_url(query="reason:bored"))
        assert "reason: &#x27;bored&#x27; is unknown; there are" in response.content.decode()
        assert 'value="reason:bored"' in response.content.decode()


def test_nothing_to_do_is_said_and_no_operation_made(admin_client):
    assert "Nothing matches" in page_of(admin_client, start_url())
    response = admin_client.post(start_url(), PACE)
    assert "matches nothing now" in response.content.decode()
    assert re.search(r"<button[^>]* disabled[^>]*>Replay 0 letters", response.content.decode())
    assert not Operation.objects.exists()


@pytest.mark.parametrize("verb", ["", "explode", "purge", "unpurge"])
def test_a_verb_that_is_not_for_letters_is_not_found(admin_client, verb):
    assert admin_client.get(start_url(verb)).status_code == 404


def test_who_lacks_a_right_may_look_and_is_told_which(db):
    letter = dead()
    client = staff("eve", "tasks.view_deadletter", "tasks.add_operation")
    page = page_of(client, start_url())
    assert "You may not replay dead letters" in page
    assert client.post(start_url(), PACE).status_code == 403
    assert staff("bob", "tasks.add_operation").get(start_url()).status_code == 403
    letter.refresh_from_db()
    assert letter.state == "open"


def test_who_may_start_and_not_look_at_operations_is_told_that_it_started(db):
    dead()
    client = staff("amy", "tasks.view_deadletter", "tasks.add_operation", "tasks.replay_deadletter")
    assert client.post(start_url(), PACE).url == "/admin/"
    assert Operation.objects.count() == 1


# The page


def test_the_page_of_a_stopped_canary_says_so(admin_client):
    operation = settle(make_operation(9), State.FAILED)
    operation.state, operation.verdict = "stopped", "stopped at step 1, 1/1 failed"
    operation.finished_at = timezone.now()
    operation.save()
    response = admin_client.get(f"{LIST}{operation.pk}/change/")
    page = response.content.decode()
    assert "stopped at step 1, 1/1 failed" in page
    assert "Stopped by itself" in page
    assert "1 failed, 8 not sent" in page
    told = [(step["label"], step["size"], step["what"]) for step in response.context["steps"]]
    assert told == [("Step 1", 1, "stopped here"), ("Step 2", 5, "not sent"), ("Step 3", 3, "not sent")]
    assert "live/" not in page  # it moves no more


def test_each_step_shows_what_became_of_it(admin_client):
    operation = settle(make_operation(40), State.DONE, State.DONE, State.FAILED, State.SENT)
    operation.step = 2
    operation.save()
    steps = admin_client.get(f"{LIST}{operation.pk}/change/").context["steps"]
    assert [(step["label"], step["size"], step["what"]) for step in steps] == [
        ("Step 1", 1, "went well"), ("Step 2", 5, "under way"), ("Step 3", 25, "to come"), ("The rest", 9, "to come"),
    ]  # fmt: skip
    assert steps[1]["counts"] == [(1, "done"), (1, "failed"), (1, "under way")]


def test_the_set_lists_the_failed_first_then_the_running_and_goes_on_from_page_to_page(admin_client, monkeypatch):
    monkeypatch.setattr(progress, "ITEMS_SHOWN", 2)
    operation = settle(make_operation(5), State.DONE, State.FAILED, State.SENT, State.FAILED)
    url = f"{LIST}{operation.pk}/change/"
    places, begin = [], ""
    while True:
        items = admin_client.get(url, {"items": begin}).context["items"]
        places += [row["place"] for row in items.rows]
        begin = items.after
        if not begin:
            break
    assert places == [2, 4, 3, 1, 5]
    letter = operation.items.get(place=1).letter_id
    page = page_of(admin_client, url)
    assert f"/admin/tasks/deadletter/{letter}/change/" in page
    assert "why failed" in page


@pytest.mark.parametrize("begin", ["nonsense", "failed:", "failed:x", "done:99999999999999", ":3"])
def test_a_place_that_makes_no_sense_shows_the_beginning(admin_client, begin):
    operation = make_operation(2)
    assert admin_client.get(f"{LIST}{operation.pk}/change/", {"items": begin}).context["items"].rows


def test_the_page_costs_the_same_queries_for_many_letters(admin_client, django_assert_max_num_queries):
    operation = settle(make_operation(120), *([State.DONE] * 50), *([State.FAILED] * 30))
    with django_assert_max_num_queries(17):
        admin_client.get(f"{LIST}{operation.pk}/change/")


def test_the_list_costs_the_same_queries_for_many_operations(admin_client, django_assert_max_num_queries):
    dead()
    for _ in range(15):
        operations.start("replay", {}, requested_by="ada")
    with django_assert_max_num_queries(6):
        page = page_of(admin_client, LIST)
    assert "Replay 1 letter" in page
    assert "0 of 1" in page


def test_what_it_is_about_is_text_with_a_way_to_the_list(admin_client):
    operation = make_operation(1)
    for query, text, url in (
        ("task:case.plain no", "task:case.plain no", "/admin/tasks/deadletter/?q=task%3Acase.plain+no"),
        ({"task": "case.plain", "text": "no more"}, 'task:case.plain "no more"',
         "/admin/tasks/deadletter/?q=task%3Acase.plain+%22no+more%22"),
        ({"queue": ["a", "b"]}, "queue:a queue:b", "/admin/tasks/deadletter/?q=queue%3Aa+queue%3Ab"),
        ({"task": 'a"b'}, '{\n  "task": "a\\"b"\n}', ""),
        ("", "all letters", ""),
    ):  # fmt: skip
        operation.query = query
        assert (progress.subject(operation), progress.subject_url(operation)) == (text, url)


# The poll


def polled(client: Any, operation: Operation, seen: str, **more: str) -> Any:
    return client.get(f"{LIST}{operation.pk}/live/", {"seen": seen, **more})


def test_a_poll_costs_one_row_while_nothing_moves(admin_client, django_assert_num_queries):
    operation = make_operation()
    with django_assert_num_queries(3):  # session, user, operation
        response = polled(admin_client, operation, progress.seen(operation))
    assert (response.status_code, response.content) == (204, b"")


def test_a_poll_brings_what_has_moved(admin_client):
    operation = make_operation()
    before = progress.seen(operation)
    settle(operation, State.SENT)
    page = polled(admin_client, operation, before, first="1").content.decode()
    for piece in ("operation-progress", "operation-items", "operation-buttons", "operation-said"):
        assert f'id="{piece}"' in page, piece
    assert f"seen={progress.seen(operation)}" in page
    assert "Running, step 1." in page
    before = progress.seen(operation)
    operation.done, operation.sent = 1, 0
    operation.save()
    page = polled(admin_client, operation, before).content.decode()
    assert 'id="operation-progress"' in page
    for piece in ("operation-items", "operation-buttons", "operation-said"):  # another page of it; no news to tell
        assert f'id="{piece}"' not in page, piece


def test_a_poll_swaps_no_piece_that_holds_another(admin_client):
    """Else a piece that is not sent along would be gone from the page."""
    operation = make_operation()
    page = page_of(admin_client, f"{LIST}{operation.pk}/change/")
    pieces = set(re.findall(r'id="(operation-[a-z]+)" hx-swap', polled(admin_client, operation, "").content.decode()))
    assert {"operation-head", "operation-buttons", "operation-progress"} <= pieces
    for piece in pieces:
        inside = _Inside(f"{piece}")
        inside.feed(page)
        assert not (inside.ids & pieces), piece


class _Inside(HTMLParser):
    """The ids inside the element of an id."""

    def __init__(self, id: str):
        super().__init__()
        self.id, self.depth, self.ids = id, 0, set[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("input", "br", "hr", "img", "meta", "link"):
            return
        id = dict(attrs).get("id") or ""
        if self.depth:
            self.depth += 1
            self.ids.add(id)
        elif id == self.id:
            self.depth = 1

    def handle_endtag(self, tag: str) -> None:
        self.depth = max(0, self.depth - 1)


def test_the_poll_ends_with_the_operation(admin_client):
    operation = make_operation()
    before = progress.seen(operation)
    operations.cancel(operation.pk, requested_by="ada")
    response = polled(admin_client, operation, before)
    assert response.status_code == 286
    assert "hx-get" not in response.content.decode()
    operation.refresh_from_db()
    assert polled(admin_client, operation, progress.seen(operation)).status_code == 286


def test_only_who_may_see_operations_polls(db):
    operation = make_operation()
    assert polled(staff("eve", "tasks.view_deadletter"), operation, "").status_code == 403


def test_it_is_said_when_no_worker_is_alive_to_carry_it_on(admin_client):
    url = f"{LIST}{make_operation().pk}/change/"
    assert "No worker is alive" in page_of(admin_client, url)
    make_worker()
    assert "No worker is alive" not in page_of(admin_client, url)


# What people do to it


def test_pause_resume_and_cancel_are_posts(admin_client):
    operation = make_operation()
    url = f"{LIST}{operation.pk}"
    for verb, question, state in (
        ("pause", "Pause it?", "paused"), ("resume", "Resume it?", "running"), ("cancel", "Cancel it?", "cancelled"),
    ):  # fmt: skip
        before = Operation.objects.get().state
        assert question in page_of(admin_client, f"{url}/{verb}/")
        assert Operation.objects.get().state == before
        admin_client.post(f"{url}/{verb}/")
        assert Operation.objects.get().state == state
    assert list(AuditEntry.objects.order_by("id").values_list("verb", "actor"))[1:] == [
        ("operations.pause", "admin"), ("operations.resume", "admin"), ("operations.cancel", "admin"),
    ]  # fmt: skip


def test_what_does_not_fit_its_state_changes_nothing_and_says_so(admin_client):
    operation = make_operation()
    page = admin_client.post(f"{LIST}{operation.pk}/resume/", follow=True).content.decode()
    assert "Nothing was changed: the operation is running" in page


def test_who_may_not_replay_may_not_hold_a_replay_either(db):
    operation = make_operation()
    client = staff("eve", "tasks.view_operation", "tasks.add_operation")
    page = page_of(client, f"{LIST}{operation.pk}/change/")
    assert "You may not replay dead letters" in page
    assert f"{operation.pk}/cancel/" not in page
    for verb in ("pause", "resume", "cancel"):
        assert client.post(f"{LIST}{operation.pk}/{verb}/").status_code == 403
    operation.refresh_from_db()
    assert operation.state == "running"


def test_a_stopped_replay_offers_its_query_again(admin_client):
    operation = make_operation()
    operation.query = "task:case.plain"
    operation.state = "stopped"
    operation.save()
    page = page_of(admin_client, f"{LIST}{operation.pk}/change/")
    assert f"{LIST}start/?verb=replay&amp;q=task%3Acase.plain" in page


def test_a_discard_is_undone_to_the_letter(admin_client, django_capture_on_commit_callbacks):
    kept = dead(task="case.everything")
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(3):
            dead()
        discard = operations.start("discard", "task:case.plain", requested_by="ada", reason="old")
    discard.refresh_from_db()
    assert discard.state == "done"
    url = f"{LIST}{discard.pk}"
    page = page_of(admin_client, f"{url}/change/")
    assert "It can be undone until" in page
    assert f"{url}/undo/" in page
    assert "Restore 3 letters" in page_of(admin_client, f"{url}/undo/")
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(f"{url}/undo/", {"reason": ""})
    restore = Operation.objects.get(verb="restore")
    assert response.url == f"{LIST}{restore.pk}/change/"
    assert (restore.undoes_id, restore.done) == (discard.pk, 3)
    assert DeadLetter.objects.filter(state="open").count() == 4
    kept.refresh_from_db()
    page = page_of(admin_client, f"{url}/change/")
    assert "It is undone, or just being" in page
    assert f"{LIST}{restore.pk}/change/" in page


def test_what_goes_on_is_not_undone(admin_client):
    dead()
    discard = operations.start("discard", "", requested_by="ada", reason="old")
    page = page_of(admin_client, f"{LIST}{discard.pk}/change/")
    assert "It still goes on" in page
    assert f"{discard.pk}/undo/" not in page


def test_a_replay_is_not_undone(admin_client):
    assert admin_client.get(f"{LIST}{make_operation().pk}/undo/").status_code == 404


def test_the_defaults_of_the_form_are_those_of_the_pace(admin_client):
    dead()
    form = admin_client.get(start_url()).context["form"]
    assert form["steps"].value() == "1, 5, 25"
    assert float(form["rate_per_second"].value()) == RATE_PER_SECOND
    assert Job.objects.filter(state=JobState.QUEUED).count() == 0
