import json
import math

import pytest
from pydantic import BaseModel

from tasks.errors import InvalidJob
from tasks.payloads import dump_payload, plain_json
from tasks.registry import registry


@pytest.fixture
def echo():
    return registry.get("probe.echo")


def test_defaults_are_filled_in(echo):
    assert json.loads(dump_payload(echo, {"text": "x"}))["seconds"] == 0


def test_a_wrong_field_is_named_with_its_place(echo):
    with pytest.raises(InvalidJob) as caught:
        dump_payload(echo, {"seconds": "long", "failures": None})
    assert [problem["field"] for problem in caught.value.problems] == ["payload.seconds", "payload.failures"]


def test_a_payload_that_is_no_object_is_refused(echo):
    with pytest.raises(InvalidJob, match="payload"):
        dump_payload(echo, ["x"])


def test_another_tasks_model_is_refused(echo):
    class Other(BaseModel):
        text: str = "x"

    with pytest.raises(InvalidJob, match="payload"):
        dump_payload(echo, Other())


def test_the_size_limit_is_told_with_its_remedy(echo, settings):
    settings.TASKS_MAX_PAYLOAD_BYTES = 200
    with pytest.raises(InvalidJob, match=r"limit is 200: store the data"):
        dump_payload(echo, {"text": "é" * 200})


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), "\ud800", {"a": ["x\0y"]}])
def test_what_the_database_can_not_keep_is_refused(value):
    with pytest.raises(InvalidJob, match="result"):
        plain_json("result", value, 1000)


@pytest.mark.parametrize("value", ["\\u0000", "\\\\u0000 as text", "😀", None, [1.5, {"a": "ü"}]])
def test_what_only_looks_odd_is_accepted(value):
    plain_json("result", value, 1000)
