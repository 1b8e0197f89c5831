import ast
import re
from pathlib import Path

import pytest

from compose.private import ROOT
from tests.bench.contests import ALL
from tests.bench.work import PAYLOAD, payload

CONTESTANTS = ROOT / "tests/bench/contestants"
EVERYBODY = {one.name: one for contest in ALL.values() for one in contest.everybody}


@pytest.mark.parametrize("contestant", EVERYBODY.values(), ids=EVERYBODY)
def test_a_contestant_has_code_settings_and_promises(contestant):
    assert (CONTESTANTS / f"{contestant.module}.py").exists()
    assert contestant.settings
    assert all(vars(contestant.promises).values())


@pytest.mark.parametrize("contest", ALL.values(), ids=ALL)
def test_no_contest_measures_two_of_one_name(contest):
    names = [one.name for one in contest.everybody]
    assert len(names) == len(set(names))


def test_everybody_is_given_the_same_bytes_whenever_it_is_sent():
    assert 450 < len(repr(PAYLOAD)) < 600
    assert payload(12.5) == {**PAYLOAD, "sent": 12.5}


@pytest.mark.parametrize("path", sorted(CONTESTANTS.glob("*.py")), ids=lambda path: path.stem)
def test_a_peer_s_code_runs_without_the_platform(path: Path):
    """Its environment has neither our packages nor our settings."""
    if path.stem == "ours":
        return
    imported = [
        name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    ]
    assert not [name for name in imported if re.match(r"(tasks|project)\b", name or "")]
