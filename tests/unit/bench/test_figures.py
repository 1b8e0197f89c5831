from collections import Counter

import pytest

from tests.bench.figures import Sample, middle, next_size, orders, percentile, ratios


def sample(rate: float, **cpu_us: float) -> Sample:
    return Sample(jobs=100, seconds=100 / rate, figures={"rate": rate}, cpu_us=cpu_us)


def test_a_ratio_compares_within_a_round_and_skips_rounds_that_miss_one():
    rounds = [
        {"ours": sample(200), "theirs": sample(100)},
        {"ours": sample(50)},
        {"ours": sample(30), "theirs": sample(10)},
    ]

    assert ratios(rounds, "ours", "theirs", "rate") == [2.0, 3.0]


def test_the_middle_is_that_of_each_figure():
    found = middle([{"ours": sample(rate, worker=rate / 10)} for rate in (300, 100, 200)], "ours")

    assert found is not None
    assert found.figures == {"rate": 200}
    assert found.cpu_us == {"worker": 20}


def test_who_was_never_measured_has_no_middle():
    assert middle([{}, {"theirs": sample(1)}], "ours") is None


@pytest.mark.parametrize(("percent", "expected"), [(50, 5), (90, 9), (99, 10), (100, 10), (1, 1)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, expected: float):
    assert percentile([7, 1, 10, 3, 2, 9, 5, 6, 4, 8], percent) == expected


def test_no_values_have_no_percentile():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_everybody_runs_once_a_round_and_nobody_always_first_or_last():
    rounds = list(orders(["a", "b", "c"], 6))

    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert set(Counter(order[0] for order in rounds).values()) == {2}
    assert set(Counter(order[-1] for order in rounds).values()) == {2}


def test_neighbours_change_sides():
    first, second, *_ = orders(["a", "b", "c", "d"], 2)

    assert first == ["a", "b", "c", "d"]
    assert second == ["a", "d", "c", "b"]


@pytest.mark.parametrize(
    ("rate", "step", "expected"), [(1234, 100, 6200), (3, 100, 100), (9e9, 100, 100_000), (700, 1000, 4000)]
)
def test_a_run_is_sized_by_the_last_one_s_rate(rate: float, step: int, expected: int):
    assert next_size(rate, 5, step=step) == expected
