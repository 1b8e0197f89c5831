"""An operation, watched until it has ended."""

import time
from collections.abc import Callable
from uuid import UUID

from django.core.management.base import CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tasks import words
from tasks.models import Operation

PAUSE_SECONDS = 0.5
INTERRUPTED = 130  # as shells have it


def watch(operation_id: UUID, *, pause: Callable[[float], None] = time.sleep) -> Operation:
    """The operation once it has ended and the last outcome is in. Until then standard error, which is no part of the
    answer, has a bar; or a line for each change of its state and step, where it is no terminal.

    Raises Operation.DoesNotExist, and CommandError when somebody looks no longer.
    """
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    try:
        with progress:
            bar = progress.add_task("", total=None, told="")
            before = None
            while True:
                operation = Operation.objects.get(pk=operation_id)
                now = (operation.state, operation.step)
                if not console.is_terminal and now != before:
                    console.print(f"{_where(operation)}: {_told(operation)}", markup=False, highlight=False)
                decided = operation.done + operation.failed
                progress.update(
                    bar,
                    description=_where(operation),
                    completed=decided,
                    total=operation.total,
                    told=_told(operation),
                )
                if operation.finished_at:
                    return operation
                before = now
                pause(PAUSE_SECONDS)
    except KeyboardInterrupt:
        raise CommandError("no longer watched; the operation goes on by itself", returncode=INTERRUPTED) from None


def complaint(operation: Operation) -> str:
    """What nobody should take for success: it has stopped, was cancelled, or ended with failures."""
    ended = Operation.State.STOPPED, Operation.State.CANCELLED
    has_failures = operation.state == Operation.State.DONE and operation.failed
    return operation.verdict if operation.state in ended or has_failures else ""


def _where(operation: Operation) -> str:
    step = f", step {operation.step}" if operation.step and operation.steps else ""
    return f"{operation.verb} {operation.get_state_display().lower()}{step}"


def _told(operation: Operation) -> str:
    counts = f"{operation.done:,} done, {operation.failed:,} failed, {operation.sent:,} running"
    # The answer has the last one, and a bar has little room.
    verdict = operation.verdict if not operation.finished_at else ""
    return words.printable(f"{counts}  {verdict}".rstrip())
