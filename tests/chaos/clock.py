"""A host's clock that jumps: what this process takes for the time is ahead by as many seconds as a file says.

Not by libfaketime: under 0.9.10, which Debian 12 has, time.sleep() fails with EINVAL (wolfcw/libfaketime#426).
Monotonic time goes on as ever, as it does on a host whose clock is set.
"""

import time
from datetime import timedelta
from pathlib import Path

from django.utils import timezone


def set_ahead(file: Path, seconds: float) -> None:
    """Let the clock of every process with CHAOS_CLOCK=``file`` jump."""
    draft = file.with_suffix(".draft")
    draft.write_text(f"{seconds}\n")
    draft.rename(file)


def install(file: Path) -> None:
    """Let this process go by that clock."""
    real_time, real_now = time.time, timezone.now

    def ahead() -> float:
        return float(file.read_text())

    time.time = lambda: real_time() + ahead()
    timezone.now = lambda: real_now() + timedelta(seconds=ahead())
