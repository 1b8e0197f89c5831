import re
from pathlib import Path

import pytest
from django.db import OperationalError

from tasks.brokers.rabbitmq import RabbitMQ
from tasks.doctor.check import Check, Finding, Result, Status, Unknown, in_one_line
from tasks.doctor.examination import OWN, answers

PAGE = Path(__file__).resolve().parents[4] / "docs/operations.md"


def check(name: str, *problems: Finding | Unknown, needs: tuple[str, ...] = ()) -> Check:
    return Check(name, "fine", lambda: problems, needs)


def statuses(*checks: Check) -> list[tuple[str, str]]:
    return [(result.check, result.status.value) for result in answers(checks)]


def test_a_check_without_problems_is_ok():
    assert list(answers([check("a")])) == [Result("a", Status.OK, "fine")]


def test_each_problem_is_a_line():
    several = check("a", Finding("one", "mend it"), Unknown("two", "ask again"))
    assert statuses(several) == [("a", "finding"), ("a", "unknown")]


@pytest.mark.parametrize("problem", [Finding("away", "start it"), Unknown("not set", "set it")])
def test_what_needs_a_troubled_check_is_unknown_and_not_asked(problem):
    def never():
        raise AssertionError("asked")

    _, second = answers([check("database", problem), Check("rows", "fine", never, ("database",))])
    assert (second.status, second.what) == (Status.UNKNOWN, "not asked: mend database first")


@pytest.mark.parametrize("error", [OperationalError("gone"), TypeError("a fault of ours"), RuntimeError()])
def test_a_check_that_fails_is_unknown_and_stops_no_other(error):
    def fail():
        yield Finding("seen before", "mend it")
        raise error

    first, second, third = answers([Check("a", "fine", fail), check("b")])
    assert (first.status, second.status, third.status) == (Status.FINDING, Status.UNKNOWN, Status.OK)
    assert type(error).__name__ in second.what


def test_what_a_parser_quotes_is_not_told():
    def fail():
        raise ValueError("Port could not be cast to integer value as 'hunter2'")

    (result,) = answers([Check("a", "fine", fail)])
    assert (result.status, result.what) == (Status.UNKNOWN, "could not be asked: ValueError")


def test_a_login_in_an_error_is_not_told():
    error = ValueError("no answer from amqp://me:hunter2@broker:5672//\nTraceback")
    assert in_one_line(error) == "no answer from amqp://broker:5672//"


def test_every_check_has_a_name_of_its_own_and_a_section_in_the_page():
    checks = (*OWN, *RabbitMQ("amqp://").checks())
    names = [check.name for check in checks]
    assert len(set(names)) == len(names)
    assert sorted(names) == sorted(re.findall(r"^### (\S+)$", PAGE.read_text(), re.MULTILINE))


def test_a_check_stands_after_those_it_needs():
    names: set[str] = set()
    for check in (*OWN, *RabbitMQ("amqp://").checks()):
        assert set(check.needs) <= names, check.name
        names.add(check.name)


def test_a_link_leads_to_the_section():
    assert Result("alarms", Status.OK, "").as_dict() == {
        "check": "alarms", "status": "ok", "what": "", "remedy": "", "link": "docs/operations.md#alarms",
    }  # fmt: skip
