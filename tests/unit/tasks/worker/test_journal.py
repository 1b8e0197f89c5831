"""What a killed child leaves in its page, and what it can not do to the page of a later turn."""

import os
import pickle
import signal
from collections.abc import Callable, Iterator

import pytest

from tasks.worker import journal
from tasks.worker.journal import PAGE_BYTES, Mark, Page
from tasks.worker.outcome import Outcome


@pytest.fixture
def page() -> Iterator[Page]:
    opened = Page.open()
    yield opened
    opened.close()


@pytest.fixture
def one_place(monkeypatch) -> None:
    """Each turn gets the page of the one before."""
    monkeypatch.setattr(journal, "_free", type(journal._free)([journal.PAGES - 1]))


def done(result: object) -> Outcome:
    return Outcome(succeeded=True, result=result)


def killed_child(mark: Mark, life: Callable[[Page], object]) -> None:
    """A pool child lives ``life`` with the turn's page, and is gone by signal 9."""
    process_id = os.fork()
    if process_id == 0:
        try:
            life(Page(mark))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(process_id, 0)


def test_a_blank_page_tells_of_nothing(page):
    assert (page.outcomes(), page.cut()) == ([], 0)


def test_what_has_ended_outlives_kill_9_in_its_order(page):
    def life(mine: Page) -> None:
        for number in (1, 2):
            mine.begin(number)
            mine.keep(done(number))
        mine.begin(3)

    killed_child(page.mark, life)

    assert page.outcomes() == [done(1), done(2)]
    assert page.cut() == 3, "the third had begun"


def test_an_outcome_that_is_half_written_does_not_count(page):
    number = journal._NUMBER

    class Deadly:
        """Kills the process that is about to write how much counts, the last thing that ``keep`` does."""

        size, unpack_from = number.size, staticmethod(number.unpack_from)

        @staticmethod
        def pack_into(memory, at, value):
            if at == page._at + journal._WRITTEN:
                os.kill(os.getpid(), signal.SIGKILL)
            number.pack_into(memory, at, value)

    def life(mine: Page) -> None:
        mine.begin(1)
        mine.keep(done("whole"))
        mine.begin(2)
        journal._NUMBER = Deadly  # in the child alone
        mine.keep(done("torn"))

    killed_child(page.mark, life)

    assert page.outcomes() == [done("whole")]
    assert page.cut() == 2
    assert b"torn" in journal._memory[page._at : page._at + PAGE_BYTES], "it was killed too early to prove anything"


def test_a_page_that_is_full_keeps_what_it_has(page):
    large = done("x" * (PAGE_BYTES // 3))
    assert [page.keep(large) for _ in range(3)] == [True, True, False]
    assert page.outcomes() == [large, large]


def test_an_outcome_fits_to_the_last_byte_and_spoils_no_neighbour(monkeypatch):
    monkeypatch.setattr(journal, "_free", type(journal._free)([5, 6]))
    page, neighbour = Page.open(), Page.open()
    neighbour.begin(1)
    neighbour.keep(done("mine"))
    room = PAGE_BYTES - journal._HEADER.size - journal._NUMBER.size
    spare = 2 * room - len(pickle.dumps(done("x" * room), pickle.HIGHEST_PROTOCOL))

    assert not page.keep(done("x" * (spare + 1)))
    assert page.keep(done("x" * spare))
    assert not page.keep(done(None))

    assert page.outcomes() == [done("x" * spare)]
    assert (neighbour.outcomes(), neighbour.cut()) == ([done("mine")], 1)


def test_a_turn_that_was_cut_short_begins_no_further_attempt(page):
    child = Page(page.mark)
    assert child.begin(1)
    assert page.cut() == 1
    assert not child.begin(2)
    assert child.keep(done("the first")), "what had begun may still end"
    assert page.outcomes() == [done("the first")]


def test_a_child_that_is_about_to_begin_is_stopped_or_seen(page, monkeypatch):
    """It says so before it looks, and whoever cuts looks after that: an attempt is never given to two."""
    child, look, seen = Page(page.mark), Page._number, []

    def cut_before_the_look(self: Page, offset: int) -> int:
        monkeypatch.undo()
        seen.append(page.cut())
        return look(self, offset)

    monkeypatch.setattr(Page, "_number", cut_before_the_look)
    assert not child.begin(1)
    assert seen == [1]


def test_a_later_turn_finds_a_used_page_blank(one_place):
    first = Page.open()
    first.begin(1)
    first.keep(done("first"))
    first.cut()
    first.close()

    second = Page.open()

    assert (second.mark.place, second.outcomes()) == (first.mark.place, [])
    assert second.begin(1), "it is not cut"


def test_the_child_of_an_earlier_turn_can_not_write_into_a_later_one(one_place):
    old = Page.open()
    old.close()
    new = Page.open()
    new.begin(1)
    new.keep(done("new"))

    killed_child(old.mark, lambda mine: (mine.begin(7), mine.keep(done("old"))))
    stale = Page(old.mark)
    said = [stale.begin(7), stale.keep(done("old"))]

    assert said == [False, False]
    assert (new.outcomes(), new.cut()) == ([done("new")], 1)


def test_two_turns_never_share_a_page_and_there_is_an_end_to_them(monkeypatch):
    monkeypatch.setattr(journal, "_free", type(journal._free)(range(3)))
    pages = [Page.open() for _ in range(3)]
    assert len({page.mark.place for page in pages}) == 3
    with pytest.raises(IndexError):
        Page.open()
    pages[0].close()
    assert Page.open().mark.place == pages[0].mark.place
