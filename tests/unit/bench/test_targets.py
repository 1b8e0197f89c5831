import pytest

from tests.bench import targets
from tests.bench.contests import ALL
from tests.bench.figures import Sample
from tests.bench.targets import TARGETS, Row, Target

FASTER = Target("drain / theirs", "drain", "ours", "theirs", 1, 2)
QUICKER = Target("latency / theirs", "latency", "ours", "theirs", 1.2, 0.8, "p50_ms", less_is_better=True)
ABSOLUTE = Target("jobs a second", "http-batch", "ours", "", 5000, 20_000)


def measured(**figures: float) -> Sample:
    return Sample(jobs=1, seconds=1, figures=figures)


def test_the_ratio_is_the_median_of_the_rounds():
    rounds = [{"ours": measured(rate=rate), "theirs": measured(rate=100)} for rate in (150, 900, 110)]

    assert FASTER.measured(rounds) == 1.5


def test_an_absolute_target_is_the_figure_itself():
    assert ABSOLUTE.measured([{"ours": measured(rate=7000)}]) == 7000


def test_what_was_not_measured_is_neither_met_nor_a_ratio():
    row = Row(FASTER, FASTER.measured([{"ours": measured(rate=1)}]))

    assert row.ratio is None
    assert not row.met


@pytest.mark.parametrize(
    ("target", "ratio", "met", "reached"),
    [
        (FASTER, 0.99, False, False),
        (FASTER, 1.0, True, False),
        (FASTER, 2.0, True, True),
        (QUICKER, 1.3, False, False),
        (QUICKER, 1.2, True, False),
        (QUICKER, 0.5, True, True),
        (ABSOLUTE, 4999, False, False),
        (ABSOLUTE, 20_000, True, True),
    ],
)
def test_a_row_is_met_at_its_target_and_reached_at_what_was_reached_for(target, ratio, met, reached):
    row = Row(target, ratio)

    assert (row.met, row.reached) == (met, reached)


def test_rows_are_of_contests_that_were_played():
    assert {row.target.contest for row in targets.rows({"drain": []})} == {"drain"}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_target_names_contestants_of_its_contest_in_both_forms(target: Target):
    contest = ALL[target.contest]
    for entries in (contest.everybody, contest.in_targets):
        names = {one.name for one in entries}
        assert {target.ours, target.against} - {""} <= names
