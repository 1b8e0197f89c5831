"""The kinds of work that a caller can ask for."""

import pytest

from tasks.registry import registry
from tests.unit.tasks.http.test_jobs import problem

pytestmark = pytest.mark.django_db


def test_every_task_tells_what_it_wants(caller):
    items = {item["name"]: item for item in caller().get("/api/v1/tasks").json()["items"]}
    assert set(items) == {spec.name for spec in registry if not spec.name.startswith("platform.")}
    echo = items["probe.echo"]
    assert echo["payload_schema"]["properties"]["text"]["type"] == "string"
    assert (echo["queue"], echo["retry"]["max_attempts"]) == ("work-queue", 3)


def test_a_task_is_found_by_the_name_it_had_before(caller):
    spec = next(spec for spec in registry if spec.aliases)
    told = caller().get(f"/api/v1/tasks/{spec.aliases[0]}").json()
    assert (told["name"], told["aliases"]) == (spec.name, list(spec.aliases))


@pytest.mark.parametrize("name", ["nope.nope", "platform.prune", "%00", "%ff", "a" * 500])
def test_a_task_that_is_not_there_is_not_found(caller, name):
    problem(caller().get(f"/api/v1/tasks/{name}"), 404, "not-found")


def test_the_catalogue_takes_a_right(caller):
    problem(caller("producer", "jobs:write").get("/api/v1/tasks"), 403, "forbidden")
