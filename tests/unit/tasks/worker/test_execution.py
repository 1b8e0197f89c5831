import json
import os
import signal
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from pydantic import BaseModel

from tasks.registry import registry
from tasks.worker import execution
from tasks.worker.execution import TURN_SECONDS, Errand, run_attempt, run_turn
from tasks.worker.journal import PAGE_BYTES, Page
from tasks.worker.outcome import Outcome

pytestmark = pytest.mark.django_db


def errand(task: str = "probe.echo", payload: dict | None = None, attempt: int = 1) -> Errand:
    return Errand(
        task=task,
        job_id=str(uuid4()),
        attempt=attempt,
        number=attempt,
        requested_by="",
        metadata={},
        payload=json.dumps(payload or {}),
        delivery_info={},
    )


def run(task: str, payload: dict, attempt: int = 1) -> Outcome:
    return run_attempt(errand(task, payload, attempt), "w@test")


def test_an_attempt_that_returns_has_succeeded():
    outcome = run("probe.echo", {"text": "x"})
    assert (outcome.succeeded, outcome.result) == (True, {"text": "x"})


@pytest.mark.parametrize(
    ("how", "error_type"),
    [
        ("raise", "ValueError"),
        ("later", "RetryLater"),
        ("exit", "AttemptCrashed"),
        ("interrupt", "AttemptCrashed"),
        ("memory", "MemoryError"),
        ("unpicklable", "Odd"),
    ],
)
def test_an_attempt_that_fails_says_how_and_may_come_back(how, error_type):
    outcome = run("probe.fail", {"how": how, "failures": 1})
    assert (outcome.succeeded, outcome.error_type) == (False, error_type)
    assert outcome.retry_in_seconds is not None
    assert "Traceback" in outcome.traceback


@pytest.mark.parametrize(("how", "attempt", "reason"), [("permanent", 1, "permanent"), ("raise", 3, "exhausted")])
def test_an_attempt_past_help_says_why(how, attempt, reason):
    outcome = run("probe.fail", {"how": how, "failures": 9}, attempt)
    assert (outcome.retry_in_seconds, outcome.reason) == (None, reason)


def test_a_payload_that_todays_model_refuses_is_not_retried():
    outcome = run("probe.echo", {"seconds": "many"})
    assert (outcome.retry_in_seconds, outcome.reason) == (None, "invalid_payload")
    assert "payload.seconds" in outcome.error


class Model(BaseModel):
    """A result as a model."""

    n: int = 1


@pytest.mark.parametrize(("value", "result"), [(Model(), {"n": 1}), (None, None), ([1, "x"], [1, "x"])])
def test_results_are_json(monkeypatch, value, result):
    swap_function(monkeypatch, lambda payload, context: value)
    assert run("probe.echo", {}).result == result


def test_a_result_crosses_as_plain_json_whatever_it_was_made_of(monkeypatch):
    class Text(str):
        def __reduce__(self):
            raise RuntimeError("can not travel")

    swap_function(monkeypatch, lambda payload, context: {"text": Text("x")})
    outcome = run("probe.echo", {})
    assert type(outcome.result["text"]) is str


def test_an_error_that_can_not_be_shown_is_told_by_its_type(monkeypatch):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    def fail(payload, context):
        raise Mute

    swap_function(monkeypatch, fail)
    outcome = run("probe.echo", {})
    assert (outcome.error_type, "Mute can not be shown" in outcome.error) == ("Mute", True)


def test_a_long_type_fits_its_column(monkeypatch):
    def fail(payload, context):
        raise type("E" * 500, (Exception,), {})

    swap_function(monkeypatch, fail)
    assert len(run("probe.echo", {}).error_type) == 200


def test_a_result_that_is_not_json_is_told_and_the_work_not_done_twice(monkeypatch):
    swap_function(monkeypatch, lambda payload, context: object())
    outcome = run("probe.echo", {})
    assert (outcome.succeeded, outcome.retry_in_seconds, outcome.reason) == (False, None, "permanent")
    assert outcome.error.startswith("result: is not JSON")


@pytest.mark.parametrize("payload", ["", '{"text": '])
def test_a_payload_that_is_no_json_object_fails_its_own_attempt(payload):
    outcome = run_attempt(errand()._replace(payload=payload), "w@test")
    assert (outcome.succeeded, outcome.lost) == (False, False)


def test_the_function_is_told_of_its_attempt(monkeypatch):
    seen = []
    swap_function(monkeypatch, lambda payload, context: seen.append((payload.text, context)))
    asked = errand(payload={"text": "x"}, attempt=7)._replace(metadata={"a": 1}, requested_by="ann")
    run_attempt(asked, "w@test")
    ((text, context),) = seen
    assert (text, str(context.job_id), context.attempt) == ("x", asked.job_id, 7)
    assert (context.metadata, context.requested_by) == ({"a": 1}, "ann")


def test_attempts_are_counted_from_the_latest_replay():
    retry = registry.get("probe.fail").retry
    asked = errand("probe.fail", {"failures": 99}, attempt=40)
    outcomes = [run_attempt(asked._replace(number=number), "w@test") for number in range(1, retry.max_attempts + 1)]
    assert [outcome.retry_in_seconds is None for outcome in outcomes] == [False, False, True]


def test_an_outcome_says_how_long_the_attempt_took(monkeypatch, clock):
    swap_function(monkeypatch, lambda payload, context: clock.pass_by(0.25))
    assert run("probe.echo", {}).seconds == pytest.approx(0.25)


# Turns


class Clock:
    """Stands in for the module ``time``."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(execution, "time", clock)
    return clock


@pytest.fixture
def page() -> Iterator[Page]:
    opened = Page.open()
    yield opened
    opened.close()


def turn(page: Page, attempts: int) -> list[Outcome]:
    return run_turn(page.mark, [errand(payload={"text": str(number)}) for number in range(attempts)], "w@test")


def texts(outcomes: list[Outcome]) -> list[str]:
    return [outcome.result["text"] for outcome in outcomes]


def test_the_attempts_of_a_turn_run_in_their_order_and_are_kept_as_they_end(page, clock):
    outcomes = turn(page, 4)
    assert texts(outcomes) == ["0", "1", "2", "3"]
    assert page.outcomes() == outcomes
    assert page.cut() == 4


def test_a_turn_begins_no_attempt_once_its_time_is_over(page, clock, monkeypatch):
    swap_function(monkeypatch, lambda payload, context: clock.pass_by(TURN_SECONDS * 0.4))
    assert len(turn(page, 9)) == 3
    assert page.cut() == 3


def test_the_first_attempt_of_a_turn_runs_however_long_it_takes(page, clock, monkeypatch):
    swap_function(monkeypatch, lambda payload, context: clock.pass_by(3600))
    assert [outcome.succeeded for outcome in turn(page, 2)] == [True]


def test_a_turn_that_is_cut_ends_with_the_attempt_that_runs(page, clock, monkeypatch):
    begun = []

    def cut_in_the_second(payload, context):
        begun.append(payload.text)
        if len(begun) == 2:
            assert page.cut() == 2
        return {"text": payload.text}

    swap_function(monkeypatch, cut_in_the_second)
    assert texts(turn(page, 4)) == ["0", "1"]
    assert begun == ["0", "1"]


def test_a_turn_that_is_cut_before_it_begins_runs_nothing(page):
    page.cut()
    assert turn(page, 2) == []


def test_a_turn_whose_page_is_a_later_turns_runs_nothing(page):
    stale = page.mark._replace(serial=page.mark.serial - 1)
    assert run_turn(stale, [errand()], "w@test") == []
    assert page.cut() == 0


def test_an_outcome_that_does_not_fit_ends_the_turn_and_is_returned_all_the_same(page, clock, monkeypatch):
    large = "x" * PAGE_BYTES
    swap_function(monkeypatch, lambda payload, context: {"text": large if payload.text == "1" else payload.text})
    outcomes = turn(page, 4)
    assert texts(outcomes) == ["0", large]
    assert texts(page.outcomes()) == ["0"]


def test_an_attempt_that_fails_does_not_keep_the_next_one_from_running(page, clock):
    errands = [errand("probe.fail", {"how": how, "failures": 9}) for how in ("exit", "interrupt", "memory", "raise")]
    outcomes = run_turn(page.mark, [*errands, errand()], "w@test")
    assert [outcome.succeeded for outcome in outcomes] == [False] * 4 + [True]
    assert page.outcomes() == outcomes


def test_a_time_limit_that_strikes_outside_the_function_is_the_outcome_of_the_attempt_at_hand(page, clock, monkeypatch):
    class SoftLimit(Exception):
        pass

    calls = []

    def struck() -> None:
        calls.append(None)
        if len(calls) == 2:
            raise SoftLimit

    monkeypatch.setattr(execution, "close_old_connections", struck)
    outcomes = turn(page, 3)
    assert [outcome.error_type for outcome in outcomes] == ["", "SoftLimit"]


@pytest.mark.parametrize("how", ["kill", "os-exit"])
def test_a_turn_whose_child_is_killed_has_kept_what_had_ended(page, how):
    errands = [errand(), errand(), errand("probe.fail", {"how": how, "failures": 9}), errand()]
    in_a_child(lambda: run_turn(page.mark, errands, "w@test"))
    assert [outcome.succeeded for outcome in page.outcomes()] == [True, True]
    assert page.cut() == 3, "the third was the one that ran"


def test_a_child_that_runs_a_turn_leaves_sigterm_to_the_main_process(page, monkeypatch):
    def terminated(payload, context):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"text": payload.text}

    swap_function(monkeypatch, terminated)
    in_a_child(lambda: turn(page, 2))
    assert texts(page.outcomes()) == ["0", "1"]


def in_a_child(life: Callable[[], object]) -> None:
    """As a pool child would live it: with none of the parent's connections."""
    process_id = os.fork()
    if process_id == 0:
        try:
            execution.close_old_connections = lambda: None
            life()
        finally:
            os._exit(0)
    os.waitpid(process_id, 0)


def swap_function(monkeypatch, function) -> None:
    from celery import current_app

    spec = registry.get("probe.echo")
    changed = type(spec)(**{**vars(spec), "function": function})
    monkeypatch.setattr(current_app.tasks["probe.echo"], "spec", changed)
