"""How many messages a worker has in hand ahead of need: few where they take long, many where they are short."""

import math
import time

from tasks.topology import MOST_PREFETCHED

TURNS_AHEAD = 4  # two in the pool, one that waits for it, one on its way here
CALM_SECONDS = 2.0


class Window:
    """The prefetch count of each consumer.

    What waits here can not run elsewhere, so the window narrows at once when something takes long, and widens again
    after a while of calm only. Small changes are not worth asking the broker for.
    """

    def __init__(self, narrowest: int):
        self._narrowest = narrowest
        self._narrowed_at = -math.inf
        self.size = narrowest

    def fit(self, *, slots: int, share: float, now: float | None = None) -> bool:
        """Choose the size for ``slots`` of a pool whose attempts take up ``share`` of a turn each, 1 for all of it.
        Whether it has changed. ``now`` is a monotonic time."""
        now = time.monotonic() if now is None else now
        if share == 1:
            self._narrowed_at, wanted = now, self._narrowest
        else:
            wanted = max(self._narrowest, min(MOST_PREFETCHED, int(TURNS_AHEAD * slots / share)))
            calm = now - self._narrowed_at > CALM_SECONDS
            if not (wanted >= self.size * 2 and calm) and wanted * 8 > self.size:
                wanted = self.size
        changed, self.size = wanted != self.size, wanted
        return changed
