"""Attempts on their way through the pool: which of them share a turn, and what becomes of each when it goes wrong."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.exceptions import TaskRevokedError

from tasks.worker import journal, turns
from tasks.worker.execution import TURN_SECONDS, run_turn
from tasks.worker.journal import Page
from tasks.worker.outcome import Outcome
from tasks.worker.turns import LONG_SECONDS, MOST_ATTEMPTS, STUCK_SECONDS, Line, Pace, Turn
from tests.waiting import wait_for

LIMITS = (9, 10)


class Clock:
    """Stands in for the module ``time``."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(turns, "time", clock)
    return clock


class Request:
    """An attempt that remembers what it was told."""

    hostname = "w@test"

    def __init__(self, name: str, share: float = 1 / 8, limits: tuple[float, float] = LIMITS):
        self.id, self.errand, self.share, self.limits = name, f"errand {name}", share, limits
        self.task = SimpleNamespace(soft_time_limit=limits[0], time_limit=limits[1])
        self.job = SimpleNamespace(task="task")
        self.pid: int | None = None
        self.ended: list[Outcome] = []

    def __repr__(self) -> str:
        return self.id

    def can_follow(self, other: "Request") -> bool:
        return self.limits == other.limits

    def on_accepted(self, pid: int, at: float) -> None:
        self.pid = pid

    def on_taken_back(self) -> None:
        self.pid = None

    def lost(self, error: BaseException) -> Outcome:
        return Outcome(succeeded=False, error=f"lost: {error}")

    def out_of_time(self) -> Outcome:
        return Outcome(succeeded=False, error="out of time")


class Pool:
    """Keeps what it was asked to run, and lets the test be its children."""

    def __init__(self) -> None:
        self.jobs: list[SimpleNamespace] = []

    def apply_async(self, target: Any, **options: Any) -> None:
        assert target is run_turn
        self.jobs.append(SimpleNamespace(**options))


def requests(names: str, **options: Any) -> list[Request]:
    return [Request(name, **options) for name in names]


def done(result: object = None) -> Outcome:
    return Outcome(succeeded=True, result=result)


def note(endings: list[tuple[Request, Outcome]]) -> None:
    """With each attempt, how it ended."""
    for request, outcome in endings:
        request.ended.append(outcome)


def take_back(turn: Turn) -> list[Request]:
    """What has not begun."""
    endings, not_begun = turn.take_back()
    note(endings)
    return not_begun


@pytest.fixture(autouse=True)
def every_page_comes_back() -> Iterator[None]:
    free = sorted(journal._free)
    yield
    assert sorted(journal._free) == free, "a page was lost, or given back twice"


@pytest.fixture
def one_page(every_page_comes_back) -> Iterator[None]:
    """Each turn has the page of the one before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "_free", deque([journal.PAGES - 1]))
        yield
        assert len(journal._free) == 1


class Child:
    """Runs the latest turn of ``pool`` as far as it is told to."""

    def __init__(self, pool: Pool):
        self.job = pool.jobs[-1]
        self.page = Page(self.job.args[0])
        self.outcomes: list[Outcome] = []

    def accept(self) -> "Child":
        self.job.accept_callback(4711, 0.0)
        return self

    def begin(self) -> bool:
        return self.page.begin(len(self.outcomes) + 1)

    def run(self, attempts: int) -> "Child":
        for _ in range(attempts):
            assert self.begin()
            self.outcomes.append(done(len(self.outcomes)))
            assert self.page.keep(self.outcomes[-1])
        return self

    def come_back(self) -> None:
        self.job.callback(self.outcomes)

    def die(self) -> None:
        self.job.error_callback(failure(WorkerLostError("signal 9 (SIGKILL)")))

    def run_out_of_time(self) -> None:
        """As the pool tells it: as a failure, and then as a timeout."""
        self.job.error_callback(failure(TimeLimitExceeded(10)))
        self.job.timeout_callback(soft=False, timeout=10)


def failure(error: Exception) -> ExceptionInfo:
    try:
        raise error
    except type(error):
        return ExceptionInfo()


# Pace


def test_nobody_knows_how_long_a_task_takes_that_has_not_run():
    assert (Pace().share("a"), Pace().largest_share()) == (1.0, None)


@pytest.mark.parametrize(
    ("seconds", "share"),
    [
        (0.0, 1 / MOST_ATTEMPTS),
        (TURN_SECONDS / 1000, 1 / MOST_ATTEMPTS),
        (TURN_SECONDS / 10, 0.1),
        (TURN_SECONDS / 2, 0.5),
        (TURN_SECONDS * 0.51, 1.0),
        (60.0, 1.0),
    ],
)
def test_what_two_of_do_not_fit_takes_up_a_turn(seconds, share):
    pace = Pace()
    pace.note("a", seconds)
    assert pace.share("a") == pytest.approx(share)


def test_a_tasks_pace_is_an_average_that_forgets():
    pace = Pace()
    quick, slow = TURN_SECONDS / 50, TURN_SECONDS / 4
    for _ in range(10):
        pace.note("a", quick)
    assert pace.share("a") == pytest.approx(1 / 50)
    pace.note("a", slow)
    assert 1 / 50 < pace.share("a") < 1 / 4, "one does not make a task slow"
    for _ in range(200):
        pace.note("a", slow)
    assert pace.share("a") == pytest.approx(1 / 4, rel=0.01)
    assert pace.share("b") == 1.0, "each task has its own"


def test_only_tasks_that_ran_lately_say_how_long_tasks_take(clock):
    pace = Pace()
    pace.note("slow", 9.0)
    clock.now += Pace.LATELY_SECONDS / 2
    pace.note("quick", 0.0)
    assert pace.largest_share() == 1.0
    clock.now += Pace.LATELY_SECONDS / 2
    assert pace.largest_share() == 1 / MOST_ATTEMPTS
    clock.now += Pace.LATELY_SECONDS / 2
    assert pace.largest_share() is None
    assert pace.share("slow") == 1.0, "it is remembered for its own sake"


# Turn


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def ends() -> list[Any]:
    return []


def started(pool: Pool, ends: list[Any], names: str = "abcd", **options: Any) -> tuple[Turn, list[Request]]:
    attempts = requests(names, **options)

    def on_end(turn: Turn, endings: list[Any], not_begun: list[Request]) -> None:
        note(endings)
        ends.append(not_begun)

    turn = Turn(attempts, on_end=on_end)
    turn.execute_using_pool(pool)
    return turn, attempts


def test_each_attempt_ends_with_its_own_outcome(pool, ends):
    turn, attempts = started(pool, ends)
    assert not turn.accepted
    child = Child(pool).accept()
    assert turn.accepted
    child.run(4).come_back()
    assert [attempt.ended for attempt in attempts] == [[done(0)], [done(1)], [done(2)], [done(3)]]
    assert [attempt.pid for attempt in attempts] == [4711] * 4
    assert ends == [[]]


def test_a_child_is_told_of_the_attempts_in_their_order(pool, ends):
    started(pool, ends)
    assert pool.jobs[0].args[1:] == ([f"errand {name}" for name in "abcd"], "w@test")
    assert pool.jobs[0].correlation_id == "a"
    Child(pool).run(4).come_back()


def test_what_did_not_fit_into_the_time_goes_back(pool, ends):
    _, attempts = started(pool, ends)
    Child(pool).accept().run(2).come_back()
    assert [len(attempt.ended) for attempt in attempts] == [1, 1, 0, 0]
    assert ends == [attempts[2:]]


@pytest.mark.parametrize("ran", range(4))
def test_of_a_killed_child_only_the_attempt_that_ran_is_blamed(pool, ends, ran):
    _, attempts = started(pool, ends)
    child = Child(pool).accept().run(ran)
    child.begin()
    child.die()
    assert [attempt.ended for attempt in attempts[:ran]] == [[done(number)] for number in range(ran)]
    assert [outcome.error for outcome in attempts[ran].ended] == ["lost: signal 9 (SIGKILL)"]
    assert [attempt.ended for attempt in attempts[ran + 1 :]] == [[]] * (3 - ran)
    assert ends == [attempts[ran + 1 :]]


def test_a_child_that_was_killed_on_its_way_back_has_lost_nothing(pool, ends):
    _, attempts = started(pool, ends)
    Child(pool).accept().run(4).die()
    assert [attempt.ended for attempt in attempts] == [[done(number)] for number in range(4)]
    assert ends == [[]]


def test_outcomes_that_could_not_cross_the_pipe_are_read_from_the_page(pool, ends):
    _, attempts = started(pool, ends, "ab")
    child = Child(pool).accept().run(2)
    child.job.error_callback(failure(ValueError("can not be sent")))
    assert [attempt.ended for attempt in attempts] == [[done(0)], [done(1)]]


def test_a_time_limit_that_is_told_twice_ends_one_attempt_once(pool, ends):
    _, attempts = started(pool, ends)
    child = Child(pool).accept().run(1)
    child.begin()
    child.run_out_of_time()
    assert [attempt.ended for attempt in attempts] == [[done(0)], [attempts[1].out_of_time()], [], []]
    assert ends == [attempts[2:]]


def test_a_soft_time_limit_is_the_childs_own_business(pool, ends):
    _, attempts = started(pool, ends)
    child = Child(pool).accept().run(1)
    child.job.timeout_callback(soft=True, timeout=9)
    assert ends == []
    child.run(3).come_back()
    assert [len(attempt.ended) for attempt in attempts] == [1, 1, 1, 1]


@pytest.mark.parametrize(("names", "late"), [("a", 0), ("ab", TURN_SECONDS)])
def test_the_last_of_a_turn_has_all_of_its_time_too(pool, ends, names, late):
    started(pool, ends, names)
    assert (pool.jobs[0].soft_timeout, pool.jobs[0].timeout) == (9 + late, 10 + late)
    Child(pool).run(len(names)).come_back()


@pytest.mark.parametrize("ran", [1, 2, 3])
def test_a_child_that_dies_between_two_attempts_costs_none_anything(pool, ends, ran):
    _, attempts = started(pool, ends)
    Child(pool).accept().run(ran).die()
    assert [attempt.ended for attempt in attempts] == [[done(number)] for number in range(ran)] + [[]] * (4 - ran)
    assert ends == [attempts[ran:]]


def test_of_a_child_that_dies_before_it_begins_anything_the_first_attempt_is_blamed(pool, ends):
    """Just to read it may have been too much, and would be for every child to come."""
    _, attempts = started(pool, ends)
    Child(pool).accept().die()
    assert [[outcome.error for outcome in attempt.ended] for attempt in attempts] == [
        ["lost: signal 9 (SIGKILL)"], [], [], [],
    ]  # fmt: skip
    assert ends == [attempts[1:]]


def test_what_has_not_begun_can_be_taken_back(pool, ends):
    turn, attempts = started(pool, ends)
    child = Child(pool).accept().run(1)
    child.begin()
    assert take_back(turn) == attempts[2:]
    child.outcomes.append(done("late"))
    assert not child.begin()
    child.come_back()
    assert [len(attempt.ended) for attempt in attempts] == [1, 1, 0, 0]
    assert ends == [[]]


def test_what_is_taken_back_has_no_process_and_what_runs_on_has_one_to_itself(pool, ends):
    turn, attempts = started(pool, ends)
    child = Child(pool).accept().run(1)
    child.begin()
    take_back(turn)
    assert turn.requests == attempts[1:2]
    assert [attempt.pid for attempt in attempts] == [4711, 4711, None, None]
    assert [attempt.share for attempt in attempts] == [1 / 8, 1.0, 1 / 8, 1 / 8]
    child.come_back()


END: dict[str, Callable[[Child], object]] = {
    "returns": lambda child: child.come_back(),
    "dies": lambda child: child.die(),
    "is killed at the hard limit": lambda child: child.run_out_of_time(),
}


@pytest.mark.parametrize("end", END)
@pytest.mark.parametrize("ran", [0, 1, 2, 3])
def test_what_was_heard_of_while_the_turn_ran_is_not_told_again(pool, ends, ran, end):
    turn, attempts = started(pool, ends)
    child = Child(pool).accept().run(ran)
    child.begin()
    endings, not_begun = turn.take_back()
    assert endings == [(attempts[number], done(number)) for number in range(ran)]
    assert not_begun == attempts[ran + 1 :]

    child.outcomes.append(done("x"))
    assert child.page.keep(child.outcomes[-1])
    END[end](child)

    assert [attempt.ended for attempt in attempts] == [[done("x")] if at == ran else [] for at in range(4)]
    assert ends == [[]]


@pytest.mark.parametrize("end", ["dies", "is killed at the hard limit"])
@pytest.mark.parametrize("ran", [0, 1, 2])
def test_of_a_turn_that_was_taken_back_from_the_attempt_that_runs_is_blamed_alone(pool, ends, ran, end):
    turn, attempts = started(pool, ends)
    child = Child(pool).accept().run(ran)
    child.begin()
    take_back(turn)
    END[end](child)
    assert [attempt.ended for attempt in attempts[:ran]] == [[done(number)] for number in range(ran)]
    assert [outcome.succeeded for outcome in attempts[ran].ended] == [False]
    assert [attempt.ended for attempt in attempts[ran + 1 :]] == [[]] * (3 - ran)
    assert ends == [[]]


@pytest.mark.parametrize("end", ["dies", "is killed at the hard limit"])
@pytest.mark.parametrize("about_to_begin", [False, True])
@pytest.mark.parametrize("ran", [0, 1, 2])
def test_nobody_is_blamed_for_a_child_that_dies_when_the_rest_of_its_turn_has_been_taken_back(
    pool, ends, ran, about_to_begin, end
):
    turn, attempts = started(pool, ends)
    child = Child(pool).accept().run(ran)
    assert take_back(turn) == attempts[ran:]
    if about_to_begin:
        assert not child.begin()
    END[end](child)
    assert [attempt.ended for attempt in attempts] == [[done(number)] for number in range(ran)] + [[]] * (4 - ran)
    assert ends == [[]]


def test_a_turn_may_be_taken_back_from_again_and_tells_what_has_ended_since(pool, ends):
    turn, attempts = started(pool, ends)
    child = Child(pool).accept().run(1)
    child.begin()
    take_back(turn)
    child.outcomes.append(done("x"))
    child.page.keep(child.outcomes[-1])
    assert turn.take_back() == ([(attempts[1], done("x"))], [])
    assert turn.take_back() == ([], [])
    child.come_back()
    assert ends == [[]]
    assert attempts[1].ended == []


def test_an_attempt_that_was_about_to_begin_when_the_rest_was_taken_goes_back_with_the_turn(pool, ends):
    """The child has said that it begins the second and then sees that the turn was cut."""
    turn, attempts = started(pool, ends, "abc")
    child = Child(pool).accept().run(1)
    child.page.begin(2)
    taken = take_back(turn)
    child.come_back()
    assert (taken, ends) == ([attempts[2]], [[attempts[1]]])
    assert [len(attempt.ended) for attempt in attempts] == [1, 0, 0]


@pytest.mark.parametrize("ran", [0, 1, 2, 3])
def test_taking_back_from_a_child_that_is_on_its_way_back_gives_no_attempt_to_two(pool, ends, ran):
    turn, attempts = started(pool, ends, "abc")
    child = Child(pool).accept().run(ran)
    taken = take_back(turn)
    child.come_back()
    assert [*taken, *ends[0]] == attempts[ran:]
    assert [len(attempt.ended) for attempt in attempts] == [1] * ran + [0] * (3 - ran)


@pytest.mark.parametrize("over", ["returned", "abandoned"])
def test_a_turn_that_is_over_has_nothing_more_to_tell(pool, ends, over, one_page):
    """And its page is another turn's by now, which goes on."""
    turn, attempts = started(pool, ends)
    child = Child(pool)
    if over == "returned":
        child.accept().run(2).come_back()
    else:
        assert turn.abandon() == attempts
    heard, told = [list(attempt.ended) for attempt in attempts], list(ends)
    _, others = started(pool, ends, "xy")

    assert turn.take_back() == ([], [])
    assert turn.abandon() == []
    for end in END.values():
        end(child)

    assert [attempt.ended for attempt in attempts] == heard
    assert (ends, told) == (told, [attempts[2:]] if over == "returned" else [])
    Child(pool).accept().run(2).come_back()
    assert [other.ended for other in others] == [[done(0)], [done(1)]]


class TellingLock:
    """Counts those who have asked for it."""

    def __init__(self) -> None:
        self.asked = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self.asked += 1
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_a_turn_that_returns_while_it_is_taken_back_from_tells_of_each_attempt_once(pool, ends, monkeypatch):
    """With a pool of threads it returns on a thread of its own."""
    turn, attempts = started(pool, ends)
    child = Child(pool).accept().run(2)
    returning = threading.Thread(target=child.come_back)
    lock = turn._changing = TellingLock()
    outcomes = Page.outcomes

    def meanwhile(page: Page) -> list[Outcome]:
        returning.start()
        wait_for(lambda: lock.asked == 2 or not returning.is_alive(), "the other thread to come as far as it can")
        return outcomes(page)

    monkeypatch.setattr(Page, "outcomes", meanwhile)
    taken = take_back(turn)
    returning.join()

    assert (taken, ends) == (attempts[2:], [[]])
    assert [attempt.ended for attempt in attempts] == [[done(0)], [done(1)], [], []]


def test_a_turn_of_which_all_was_taken_back_before_the_pool_had_a_slot_for_it_needs_none(pool, ends):
    attempts = requests("ab")
    turn = Turn(attempts, on_end=lambda turn, endings, not_begun: ends.append((endings, not_begun)))
    assert take_back(turn) == attempts
    with pytest.raises(TaskRevokedError):  # Celery lets go of the slot
        turn.execute_using_pool(pool)
    assert (pool.jobs, ends) == ([], [([], [])])


def test_an_abandoned_turn_has_no_attempts_and_begins_none(pool, ends):
    turn, attempts = started(pool, ends)
    child = Child(pool)
    assert turn.abandon() == attempts
    assert not child.begin()
    assert turn.requests == []


# Line


class Shop:
    """A line, and the pool behind it."""

    def __init__(self, slots: int):
        self.pool, self.slots, self.started, self.free = Pool(), slots, [], 0
        self.soon: list[Any] = []
        self.line = Line(
            start=self._start,
            slots=lambda: self.slots,
            soon=lambda call, *arguments: self.soon.append((call, arguments)),
            on_endings=note,
            on_free_slot=self._count,
        )

    def _start(self, turn: Turn) -> None:
        self.started.append(turn)
        turn.execute_using_pool(self.pool)
        turn.child = Child(self.pool)

    def _count(self) -> None:
        self.free += 1

    def turn_of_the_loop(self) -> None:
        while self.soon:
            call, arguments = self.soon.pop(0)
            call(*arguments)

    def finish(self) -> None:
        """Let everything end."""
        self.turn_of_the_loop()
        while living := [turn for turn in self.started if turn in self.line._turns]:
            for turn in living:
                attempts = turn._heard + len(turn.requests)
                turn.child.outcomes += [done()] * (attempts - len(turn.child.outcomes))
                turn.child.come_back()
            self.turn_of_the_loop()

    @property
    def shared(self) -> list[str]:
        """The attempts of each turn there has been."""
        return ["".join(errand[-1] for errand in job.args[1]) for job in self.pool.jobs]


@pytest.fixture
def open_shop() -> Iterator[Any]:
    shops: list[Shop] = []

    def open_one(slots: int = 2) -> Shop:
        shops.append(Shop(slots))
        return shops[-1]

    yield open_one
    for shop in shops:
        shop.slots = max(shop.slots, 1)
        shop.finish()


def test_attempts_are_shared_out_fairly_among_the_free_slots(open_shop):
    shop = open_shop(3)
    shop.line.join(requests("abcdefgh"))
    assert shop.shared == ["abc", "def", "gh"]


def test_a_turn_takes_what_fits_into_its_time(open_shop):
    shop = open_shop(1)
    shop.line.join(requests("abcdefgh", share=0.3))
    assert shop.shared == ["abc"]
    assert [request.id for request in shop.line.waiting] == list("defgh")


@pytest.mark.parametrize("fit", [3, 10, 49, MOST_ATTEMPTS])
def test_as_many_fit_as_should_whatever_rounding_makes_of_it(open_shop, fit):
    shop = open_shop(1)
    shop.line.join([Request(str(number), share=1 / fit) for number in range(2 * MOST_ATTEMPTS)])
    assert len(shop.started[0].requests) == fit


def test_attempts_with_different_time_limits_never_share_a_turn(open_shop):
    shop = open_shop(1)
    shop.line.join([*requests("ab"), *requests("cd", limits=(1, 2)), *requests("e")])
    for _ in range(2):
        shop.started[-1].child.run(2).come_back()
        shop.turn_of_the_loop()
    assert shop.shared == ["ab", "cd", "e"]


def test_an_attempt_that_takes_up_a_turn_runs_alone(open_shop):
    shop = open_shop(1)
    shop.line.join([*requests("a"), *requests("b", share=1.0), *requests("c")])
    for _ in range(2):
        shop.started[-1].child.run(1).come_back()
        shop.turn_of_the_loop()
    assert shop.shared == ["a", "b", "c"]


def test_a_slot_that_is_free_again_gets_the_next_turn_and_says_so(open_shop):
    shop = open_shop(1)
    attempts = requests("abcdefghijkl")
    shop.line.join(attempts)
    assert (shop.shared, shop.line.free_slots) == (["abcdefgh"], -4)
    shop.started[0].child.run(8).come_back()
    assert shop.free == 0, "not before the loop's own turn"
    assert [len(request.ended) for request in attempts] == [1] * 8 + [0] * 4, "what has ended waits for nothing"
    shop.turn_of_the_loop()
    assert (shop.shared[1:], shop.free) == (["ijkl"], 1)


def test_what_did_not_begin_goes_before_what_waits(open_shop):
    shop = open_shop(1)
    shop.line.join(requests("abcdefghij"))
    shop.started[0].child.run(2).come_back()
    shop.turn_of_the_loop()
    assert shop.shared == ["abcdefgh", "cdefghij"]


def test_a_pool_without_slots_runs_nothing_and_takes_it_all_once_it_has_some(open_shop):
    shop = open_shop(0)
    shop.line.join(requests("ab"))
    assert (shop.shared, len(shop.line.waiting)) == ([], 2)
    shop.slots = 1
    shop.line.join([])
    assert shop.shared == ["ab"]


def test_what_waits_behind_something_long_is_run_by_another_slot(open_shop, clock):
    shop = open_shop(2)
    shop.line.join(requests("abcdef"))  # abc, def
    shop.started[0].child.accept().begin()
    clock.now += LONG_SECONDS + 0.1
    shop.started[1].child.run(3).come_back()

    shop.line.unstick()
    assert [request.id for request in shop.line.waiting] == ["b", "c"]
    shop.turn_of_the_loop()

    assert shop.shared == ["abc", "def", "bc"]


def test_what_waits_behind_something_long_is_run_at_once_by_a_slot_that_is_free(open_shop, clock):
    shop = open_shop(2)
    shop.line.join(requests("abcdef"))  # abc, def
    shop.started[0].child.accept().begin()
    shop.started[1].child.run(3).come_back()
    shop.turn_of_the_loop()
    clock.now += LONG_SECONDS + 0.1
    shop.line.unstick()
    assert shop.shared == ["abc", "def", "bc"]


@pytest.mark.parametrize("about_to_begin", [True, False])
def test_a_slot_whose_turn_was_taken_back_whole_is_free_once_its_child_is_gone(open_shop, clock, about_to_begin):
    shop = open_shop(1)
    attempts = requests("abc")
    shop.line.join(attempts)
    child = shop.started[0].child.accept()
    clock.now += LONG_SECONDS + 0.1
    shop.line.unstick()
    if about_to_begin:
        assert not child.begin()
    child.die()
    shop.turn_of_the_loop()
    assert shop.shared == ["abc", "abc"]
    assert [attempt.ended for attempt in attempts] == [[], [], []], "nobody ran, so nobody is blamed"


def test_what_ended_before_something_long_is_heard_of_while_that_runs(open_shop, clock):
    shop = open_shop(1)
    attempts = requests("abcd")
    shop.line.join(attempts)
    child = shop.started[0].child.accept()
    for number in range(2):
        child.begin()
        child.outcomes.append(replace(done(number), seconds=TURN_SECONDS / 4))
        child.page.keep(child.outcomes[-1])
    child.begin()
    clock.now += LONG_SECONDS + 0.1

    shop.line.unstick()

    assert [len(attempt.ended) for attempt in attempts] == [1, 1, 0, 0]
    assert [request.id for request in shop.line.waiting] == ["d"]
    assert shop.line.pace.share("task") == pytest.approx(0.25), "they count for the pace like others"
    shop.line.unstick()
    child.outcomes.append(done("long"))
    child.come_back()
    assert [len(attempt.ended) for attempt in attempts] == [1, 1, 1, 0]


def test_what_takes_a_moment_is_left_alone(open_shop, clock):
    shop = open_shop(1)
    shop.line.join(requests("abc"))
    shop.started[0].child.accept().begin()
    clock.now += LONG_SECONDS - 0.1
    shop.line.unstick()
    assert list(shop.line.waiting) == []


@pytest.mark.parametrize(
    ("slots", "seconds", "names", "stuck"),
    [
        (2, STUCK_SECONDS + 0.1, "abc", True),
        (2, STUCK_SECONDS - 0.1, "abc", False),
        (2, STUCK_SECONDS + 0.1, "ab", False),  # nothing waits
    ],
)
def test_a_line_is_stuck_when_every_slot_has_been_taken_for_long(open_shop, clock, slots, seconds, names, stuck):
    shop = open_shop(slots)
    shop.line.join(requests(names, share=1.0))
    clock.now += seconds
    assert shop.line.is_stuck == stuck


def test_a_line_that_moves_in_one_slot_is_not_stuck(open_shop, clock):
    shop = open_shop(2)
    shop.line.join(requests("abcd", share=1.0))
    clock.now += STUCK_SECONDS + 1
    shop.started[0].child.run(1).come_back()
    shop.turn_of_the_loop()
    assert not shop.line.is_stuck


def test_a_line_is_not_stuck_once_the_pool_has_grown(open_shop, clock):
    shop = open_shop(1)
    shop.line.join(requests("ab", share=1.0))
    clock.now += STUCK_SECONDS + 1
    assert shop.line.is_stuck
    shop.slots = 2
    assert not shop.line.is_stuck


def test_what_leaves_the_line_is_not_run_by_it(open_shop):
    shop = open_shop(1)
    attempts = requests("abc", share=1.0)
    shop.line.join(attempts)
    assert shop.line.leave() == attempts[1:]
    shop.finish()
    assert shop.shared == ["a"]


def test_a_line_that_is_cleared_keeps_what_runs_and_hears_of_what_has_ended(open_shop):
    shop = open_shop(2)
    attempts = requests("abcdefgh", share=1 / 3)
    shop.line.join(attempts)  # abc, def; gh wait
    shop.started[0].child.accept().run(1).begin()
    shop.slots = 0  # as of a worker that is stopping

    cleared = shop.line.clear()

    assert sorted(request.id for request in cleared) == ["c", "d", "e", "f", "g", "h"]
    assert cleared[-2:] == attempts[6:], "what waits comes after what had a slot"
    assert [len(attempt.ended) for attempt in attempts] == [1] + [0] * 7
    assert [turn.requests for turn in shop.started] == [[attempts[1]], []]
    assert not shop.started[1].child.begin()
    assert shop.line.clear() == []


def test_a_slot_is_free_when_a_turn_that_was_cleared_has_ended(open_shop):
    shop = open_shop(1)
    shop.line.join(requests("ab"))
    shop.line.clear()
    shop.started[0].child.come_back()
    shop.turn_of_the_loop()
    assert (shop.free, shop.line.free_slots) == (1, 1)


def test_a_turn_that_was_cleared_before_the_pool_had_grown_for_it_leaves_its_slot_free(open_shop):
    shop = open_shop(1)
    late: list[Turn] = []
    shop.line._start = late.append  # Celery keeps it until the pool has a process for it
    shop.line.join(requests("ab"))
    shop.line.clear()
    with pytest.raises(TaskRevokedError):
        late[0].execute_using_pool(shop.pool)
    shop.turn_of_the_loop()
    assert (shop.shared, shop.line.free_slots) == ([], 1)


def test_a_flushed_pool_has_forgotten_what_no_child_has_begun(open_shop):
    shop = open_shop(2)
    attempts = requests("abcd", share=0.5)
    shop.line.join([*attempts, *requests("e", share=1.0)])  # ab, cd; e waits
    shop.started[0].child.accept().run(1)

    forgotten = shop.line.forget_unaccepted()

    assert [request.id for request in forgotten] == ["c", "d", "e"]
    shop.line.join(requests("f"))
    assert shop.shared == ["ab", "cd", "f"], "its slot is free"
    assert not Child.begin(shop.started[1].child), "should a child take it up all the same"
    shop.started[0].child.run(1).come_back()
    assert [len(attempt.ended) for attempt in attempts] == [1, 1, 0, 0]


def test_room_is_a_turn_for_each_free_slot_and_one_ahead_for_each_short_turn(open_shop, clock):
    shop = open_shop(3)
    assert shop.line.room() == 3
    shop.line.join(requests("a"))
    assert shop.line.room() == 3
    shop.line.join(requests("b", share=1.0))
    assert shop.line.room() == 2
    shop.line.join([*requests("c", share=1.0), *requests("d", share=0.25)])
    assert shop.line.room() == 0.75
    clock.now += LONG_SECONDS + 1
    assert shop.line.room() == -0.25, "the short turn turned out long"


def test_an_attempt_that_turns_out_long_says_so_before_it_ends(open_shop, clock):
    shop = open_shop(1)
    shop.line.pace.note("task", 0.0)
    shop.line.join(requests("a"))
    assert shop.line.largest_share() == 1 / MOST_ATTEMPTS
    clock.now += STUCK_SECONDS + 0.1
    assert shop.line.largest_share() == 1.0


def test_the_pace_is_that_of_what_has_ended(open_shop):
    shop = open_shop(1)
    shop.line.join(requests("ab"))
    shop.started[0].child.outcomes = [replace(done(), seconds=TURN_SECONDS / 4)] * 2
    shop.started[0].child.come_back()
    assert shop.line.pace.share("task") == pytest.approx(0.25)


def test_a_turn_that_waits_for_the_pool_to_grow_is_not_taken_for_long(clock, ends):
    turn = Turn(requests("abc"), on_end=lambda *ended: ends.append(ended))
    clock.now += STUCK_SECONDS + 1
    assert (turn.seconds, turn.is_long) == (0.0, False)
    turn.abandon()
