"""Keep processes running: whoever dies is started again, ever more slowly while that does not help."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compose.private import signals
from compose.private.console import Follower, say
from compose.private.process import Process

HEALTHY_SECONDS = 60  # a process that lived this long has proven itself: its next death counts as the first


def restart_delay(deaths: int) -> int:
    """Seconds to wait after the ``deaths``-th death in a row, counted from 1: 1, 2, 4 … 30."""
    return min(1 << (deaths - 1), 30)


@dataclass
class Watched:
    """A process, the way to start it, and how often in a row it died."""

    process: Process
    launch: Callable[[], None]
    deaths: int = 0
    restart_at: float | None = None

    def look(self, now: float) -> None:
        """Notice a death, or start again once the wait is over."""
        if self.process.is_alive():
            return
        if self.restart_at is None:
            lived = now - self.process.started_at
            self.deaths = 1 if lived > HEALTHY_SECONDS else self.deaths + 1
            delay = restart_delay(self.deaths)
            self.restart_at = now + delay
            end = f"ended with {self.process.exit_code} after {lived:.0f} s"
            say(f"{self.process.name} {end}: starting it again in {delay} s")
        elif now >= self.restart_at:
            self.restart_at = None
            self.process.kill()  # the rest of its family, say pool children that lost their parent
            self.launch()


def watch(watched: Sequence[Watched], follower: Follower) -> None:
    """Print, restart, and return when a signal asks for the end."""
    while not signals.requested():
        for one in watched:
            one.look(time.monotonic())
        follower.poll()
        time.sleep(0.1)
