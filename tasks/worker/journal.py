"""What a pool child has begun and ended of its turn, in memory that outlives any kill -9 of it.

The memory was there before the pool forked. A page belongs to one turn: the child writes, and only when the child does
not come back, or takes long, does the main process read.
"""

import mmap
import pickle
from collections import deque
from itertools import count
from struct import Struct
from typing import NamedTuple

from tasks.worker.outcome import Outcome

PAGES = 1024
PAGE_BYTES = 131_072
_HEADER = Struct("=QIII")  # whose page it is, attempts begun, bytes of outcomes, whether the turn was cut short
_NUMBER = Struct("=I")
_BEGUN, _WRITTEN, _CUT = 8, 12, 16

_memory = mmap.mmap(-1, PAGES * PAGE_BYTES)  # pages nobody writes to cost nothing
_free = deque(range(PAGES))
_serials = count(1)


class Mark(NamedTuple):
    """Where a turn's page is, and what tells it from those of later turns."""

    place: int
    serial: int


class Page:
    """One turn's. Both processes make one over the same memory."""

    def __init__(self, mark: Mark):
        self.mark = mark
        self._at = mark.place * PAGE_BYTES

    @classmethod
    def open(cls) -> "Page":
        """A blank one, in the main process. IndexError when 1,024 turns run at once."""
        page = cls(Mark(_free.pop(), next(_serials)))
        _HEADER.pack_into(_memory, page._at, page.mark.serial, 0, 0, False)
        return page

    def close(self, *, abandoned: bool = False) -> None:
        """In the main process: let another turn have it, the next one or, where a child may still hold it, the last."""
        (_free.appendleft if abandoned else _free.append)(self.mark.place)

    def begin(self, attempts: int) -> bool:
        """In the child: the turn is about to have begun ``attempts``. False when it was cut short, or is no more."""
        if not self._is_mine():
            return False
        _NUMBER.pack_into(_memory, self._at + _BEGUN, attempts)  # before the look: one of both processes sees the other
        return not self._number(_CUT)

    def keep(self, outcome: Outcome) -> bool:
        """In the child: an attempt has ended so. False when the page had no room for it, and has none for another."""
        data = pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
        written = self._number(_WRITTEN)
        at, end = self._at + _HEADER.size + written, written + _NUMBER.size + len(data)
        if not self._is_mine() or _HEADER.size + end > PAGE_BYTES:
            return False
        _NUMBER.pack_into(_memory, at, len(data))
        _memory[at + _NUMBER.size : at + _NUMBER.size + len(data)] = data
        _NUMBER.pack_into(_memory, self._at + _WRITTEN, end)  # last: an outcome that is half written does not count
        return True

    def cut(self) -> int:
        """In the main process: begin no further attempt. Returns how many have begun, or are about to."""
        _NUMBER.pack_into(_memory, self._at + _CUT, True)
        return self._number(_BEGUN)

    def outcomes(self) -> list[Outcome]:
        """In the main process, once the child is gone: how the attempts ended that did, in their order."""
        at = self._at + _HEADER.size
        end = at + self._number(_WRITTEN)
        kept: list[Outcome] = []
        while at < end:
            (length,) = _NUMBER.unpack_from(_memory, at)
            at += _NUMBER.size + length
            kept.append(pickle.loads(_memory[at - length : at]))
        return kept

    def _number(self, offset: int) -> int:
        return int(_NUMBER.unpack_from(_memory, self._at + offset)[0])

    def _is_mine(self) -> bool:
        return bool(_HEADER.unpack_from(_memory, self._at)[0] == self.mark.serial)
