"""How far ahead a worker reads."""

import pytest

from tasks.topology import MOST_PREFETCHED
from tasks.worker.window import CALM_SECONDS, TURNS_AHEAD, Window


def test_it_begins_narrow():
    assert Window(2).size == 2


@pytest.mark.parametrize(
    ("narrowest", "slots", "share", "size"),
    [
        (2, 2, 1 / 4, 2 * TURNS_AHEAD * 4),
        (2, 4, 1 / 64, 4 * TURNS_AHEAD * 64),
        (2, 64, 1 / 64, MOST_PREFETCHED),
        (100, 1, 1 / 2, 100),
        (2, 2, 1.0, 2),
    ],
)
def test_it_is_as_wide_as_the_pool_has_turns_ahead(narrowest, slots, share, size):
    window = Window(narrowest)
    assert window.fit(slots=slots, share=share, now=0) == (size != narrowest)
    assert window.size == size


def test_it_narrows_at_once_and_all_the_way_when_something_takes_long():
    window = Window(2)
    window.fit(slots=2, share=1 / 64, now=100)
    assert window.fit(slots=2, share=1.0, now=100.25)
    assert window.size == 2


def test_after_that_it_widens_only_after_a_while_of_calm():
    window = Window(2)
    window.fit(slots=2, share=1 / 64, now=0)
    window.fit(slots=2, share=1.0, now=10)
    assert not window.fit(slots=2, share=1 / 64, now=10 + CALM_SECONDS - 0.1)
    assert window.size == 2
    assert window.fit(slots=2, share=1 / 64, now=10 + CALM_SECONDS + 0.1)
    assert window.size == 2 * TURNS_AHEAD * 64


def test_the_calm_begins_with_the_latest_that_took_long():
    window = Window(2)
    for now in (10, 11, 12):
        window.fit(slots=2, share=1.0, now=now)
    assert not window.fit(slots=2, share=1 / 64, now=12 + CALM_SECONDS - 0.1)
    assert window.fit(slots=2, share=1 / 64, now=12 + CALM_SECONDS + 0.1)


@pytest.mark.parametrize(
    ("share", "changes"),
    [(1 / 64, False), (1 / 127, False), (1 / 128, True), (1 / 63, False), (1 / 9, False), (1 / 8, True)],
)
def test_small_changes_are_not_worth_asking_for(share, changes):
    window = Window(2)
    window.fit(slots=1, share=1 / 64, now=0)
    before = window.size
    assert window.fit(slots=1, share=share, now=1000) == changes
    assert (window.size != before) == changes
