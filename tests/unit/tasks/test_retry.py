import pytest

from tasks.errors import PermanentError, RetryLater
from tasks.retry import LONGEST_WISH_SECONDS, RetryPolicy


def test_delay_doubles_until_the_cap():
    policy = RetryPolicy(base_seconds=2, cap_seconds=10, max_attempts=9)
    assert [policy.delay_seconds(n, jitter=max) for n in (1, 2, 3, 4)] == [2, 4, 8, 10]


def test_jitter_picks_from_zero_to_the_whole_delay():
    policy = RetryPolicy(base_seconds=4, max_attempts=3)
    assert policy.delay_seconds(2, jitter=lambda low, high: (low, high)) == (0.0, 8.0)


def test_no_delay_is_left_after_the_last_attempt():
    assert RetryPolicy(max_attempts=3).delay_seconds(3) is None


def test_a_huge_attempt_number_stays_at_the_cap():
    assert RetryPolicy(max_attempts=10**6).delay_seconds(10**5, jitter=max) == 600


def test_attempts_count_from_one():
    with pytest.raises(ValueError, match="counts from 1"):
        RetryPolicy().delay_seconds(0)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("x"), 2.0),
        (PermanentError("x"), None),
        (KeyError("x"), None),
        (RetryLater("x"), 2.0),
        (RetryLater("x", delay_seconds=30), 30.0),
        (RetryLater("x", delay_seconds=-1), 0.0),
        (RetryLater("x", delay_seconds=float("inf")), LONGEST_WISH_SECONDS),
        (RetryLater("x", delay_seconds=1e12), LONGEST_WISH_SECONDS),
        (RetryLater("x", delay_seconds=float("nan")), 2.0),
    ],
)
def test_the_error_decides_with_the_policy(error, expected):
    policy = RetryPolicy(permanent=(KeyError,))
    assert policy.decide(1, error, jitter=max) == expected


def test_a_wish_to_retry_does_not_outlive_the_attempts():
    assert RetryPolicy(max_attempts=2).decide(2, RetryLater("x", delay_seconds=1)) is None


@pytest.mark.parametrize("values", [{"max_attempts": 0}, {"base_seconds": -1}, {"cap_seconds": -1}])
def test_a_policy_that_makes_no_sense_is_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        RetryPolicy(**values)
