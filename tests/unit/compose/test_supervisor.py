from typing import cast

import pytest

from compose.private.process import Process
from compose.private.supervisor import Watched, restart_delay


class Fake:
    """A process that lives and dies by word of the test."""

    name = "web"
    exit_code = 3
    started_at = 0.0
    alive = True

    def is_alive(self) -> bool:
        return self.alive

    def kill(self) -> None:
        self.alive = False


@pytest.mark.parametrize(("deaths", "seconds"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (5000, 30)])
def test_each_death_in_a_row_doubles_the_wait(deaths: int, seconds: int):
    assert restart_delay(deaths) == seconds


def watched() -> tuple[Fake, Watched, list[str]]:
    fake, starts = Fake(), []
    return fake, Watched(cast(Process, fake), lambda: starts.append("start")), starts


def test_the_dead_is_started_after_its_wait_and_not_before():
    fake, one, starts = watched()
    fake.alive = False

    one.look(now=10.0)
    one.look(now=10.9)
    assert starts == []

    one.look(now=11.0)
    assert starts == ["start"]


def test_a_quick_second_death_waits_longer():
    fake, one, starts = watched()
    fake.alive = False
    one.look(now=10.0)
    one.look(now=11.0)
    fake.started_at = 11.0

    one.look(now=12.0)
    one.look(now=13.9)
    assert starts == ["start"]

    one.look(now=14.0)
    assert starts == ["start", "start"]


def test_a_long_life_forgives_earlier_deaths():
    fake, one, _ = watched()
    one.deaths = 9
    fake.alive, fake.started_at = False, 0.0

    one.look(now=1000.0)

    assert one.restart_at == 1001.0


def test_the_living_are_left_alone():
    _, one, starts = watched()

    one.look(now=10.0)

    assert (starts, one.restart_at) == ([], None)
