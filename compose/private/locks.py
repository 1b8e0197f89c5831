"""One launcher at a time. The kernel drops a lock together with its holder, so none is ever stale."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from compose.private import signals


@contextmanager
def locked(path: Path, when_taken: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock for the length of a ``with`` block.

    While it is another's, ``when_taken(its pid)`` is called once and may raise; otherwise we wait. Stopped on a signal.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        told = False
        while not _try_to_lock(file.fileno()):
            if not told:
                file.seek(0)
                when_taken(file.read().strip())
                told = True
            signals.check()
            time.sleep(0.2)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _try_to_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
