"""What a task is given in a rehearsal."""

from collections.abc import Sequence

from tasks.context import JobContext
from tasks.dead_letters.sandbox.telling import tell


class RehearsalContext(JobContext):
    """An attempt that nobody claimed: it has no row to write to or to be cancelled by. ``once`` knows what earlier
    attempts did, as a replay would."""

    rehearsal = True

    def progress(self, done: int, total: int | None = None, note: str = "") -> None:
        tell("progress", done=done, total=total, note=note[:200])

    def checkpoint(self) -> None:
        return None

    def would_send(self, channel: str, recipients: Sequence[str], subject: str = "") -> None:
        tell("message", channel=channel, recipients=list(recipients), subject=subject)
