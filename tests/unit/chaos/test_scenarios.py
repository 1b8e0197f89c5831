"""The book of faults is complete, and docs/reliability.md tells it as it is."""

from pathlib import Path

import pytest

from tests.chaos.docs import BEGIN, END, table
from tests.chaos.mutations import MUTATIONS
from tests.chaos.scenarios import SCENARIOS

RELIABILITY = (Path(__file__).resolve().parents[3] / "docs" / "reliability.md").read_text()


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_names_a_mutation_that_turns_it_red(name):
    assert SCENARIOS[name].red_under
    assert set(SCENARIOS[name].red_under) <= MUTATIONS.keys()


def test_every_mutation_is_noticed_by_a_scenario():
    noticed = {mutation for one in SCENARIOS.values() for mutation in one.red_under}
    assert noticed == MUTATIONS.keys()


def test_the_documentation_lists_every_scenario():
    written = RELIABILITY.split(BEGIN)[1].split(END)[0].strip()
    assert written == table(), f"expected:\n{table()}"


def test_every_scenario_that_the_documentation_names_exists():
    _, _, *rows = [line for line in RELIABILITY.split(END)[1].split("## ")[0].splitlines() if line.startswith("|")]
    cells = [row.split("|")[2].strip() for row in rows]
    named = {name for cell in cells if not cell.startswith("none") for name in cell.split(", ")}
    assert len(cells) == 26
    assert named <= SCENARIOS.keys()
