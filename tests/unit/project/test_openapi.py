"""The API's description is complete, and the one that is committed is the one that is served."""

import json
import re
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from tasks.http.problems import PROBLEM_TYPES


@pytest.fixture(scope="module")
def served() -> dict[str, Any]:
    return Client().get("/api/v1/openapi.json").json()


def operations(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {address}", operation)
        for address, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_committed_description_is_the_one_that_is_served(served):
    committed = json.loads((settings.BASE_DIR / "docs/openapi.json").read_text())
    assert committed == served, "run `make openapi` and commit docs/openapi.json"


def test_every_reference_leads_somewhere(served):
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(served)):
        found: Any = served
        assert reference.startswith("#/"), reference
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def test_every_operation_has_its_own_name(served):
    names = [operation["operationId"] for _, operation in operations(served)]
    assert len(names) == len(set(names))


def test_every_operation_tells_its_problems(served):
    for name, operation in operations(served):
        told = set(operation["responses"])
        assert {"500", "503"} <= told, name
        assert ("security" in operation) == ({"401", "403", "429"} <= told), name
        assert ("requestBody" in operation) <= ({"400", "413", "415", "422"} <= told), name
        assert ("{" in name) <= ("404" in told), name


def test_every_problem_type_is_described_by_an_example(served):
    responses = served["components"]["responses"]
    assert set(responses) == set(PROBLEM_TYPES)
    for slug, response in responses.items():
        example = response["content"]["application/problem+json"]["example"]
        assert (example["type"], example["status"]) == (f"/api/v1/problems/{slug}", PROBLEM_TYPES[slug].status)


def test_both_ways_in_are_described(served):
    assert {name: bool(scheme["description"]) for name, scheme in served["components"]["securitySchemes"].items()} == {
        "Token": True, "StaffSession": True,
    }  # fmt: skip
