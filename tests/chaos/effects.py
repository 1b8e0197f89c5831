"""What the outside world has seen: one line a job's effect, written by the tasks, read by the verdict."""

import os
from collections import Counter
from pathlib import Path
from uuid import UUID

NAME = "effects"


def leave(job_id: UUID, attempt: int) -> None:
    """Do to the world what a job does. Raises OSError where the disk refuses."""
    line = f"{job_id} {attempt}\n".encode()
    file = os.open(Path(os.environ["CHAOS_DIRECTORY"], NAME), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)  # one short append is whole or absent, whoever else is writing
    finally:
        os.close(file)


def seen(directory: Path) -> Counter[tuple[UUID, int | None]]:
    """How often each attempt of each job left its effect."""
    path = directory / NAME
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter((UUID(job_id), int(attempt)) for job_id, attempt in (line.split() for line in lines))
