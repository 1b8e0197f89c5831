"""manage.py demo: one of everything, on real servers, checked."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table

from project.demo.catcher import Catcher
from project.demo.checks import Shown, all_of
from project.demo.waiting import wait_for
from tasks.models import WorkerProcess


class Command(BaseCommand):
    help = "Run each kind of work once, a retry, a dead letter and its replay; check every outcome (exit 1 if wrong)."

    def handle(self, **_: Any) -> None:
        call_command("migrate", verbosity=0)
        call_command("topology", "apply", stdout=open(os.devnull, "w"))  # noqa: SIM115
        folder = Path(settings.VAR_DIR) / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        console = Console()
        if not console.is_terminal:
            console.width = 120
        failures: list[str] = []
        rows: list[Shown] = []
        with Catcher() as catcher, Worker(folder / "worker.log", EMAIL_URL=catcher.url):
            for show in all_of(catcher, folder):
                try:
                    rows.append(show())
                    console.print(f"[green]done[/] {rows[-1].what}")
                except AssertionError as error:
                    failures.append(str(error))
                    console.print(f"[red]wrong[/] {error}")
        console.print(_table(rows))
        if failures:
            raise CommandError(f"{len(failures)} outcomes were wrong; the worker's log is {folder / 'worker.log'}")
        console.print(f"All {len(rows)} outcomes are as they should be.")


class Worker:
    """A `celery worker` of its own while used as a context manager; its log goes to ``log``."""

    def __init__(self, log: Path, **environment: str):
        self._log = log
        self._environment = environment

    def __enter__(self) -> None:
        before = set(WorkerProcess.objects.values_list("pk", flat=True))
        command = [sys.executable, "-m", "celery", "-A", "project", "worker", "-n", "demo@%h", "--concurrency", "2"]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **self._environment},
                cwd=settings.BASE_DIR,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for(lambda: WorkerProcess.objects.exclude(pk__in=before).exists(), "the worker to start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _table(rows: list[Shown]) -> Table:
    table = Table(title="What happened", show_lines=True)
    for heading in ("What", "Job", "State", "Attempts", "Details"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(row.what, row.job.short_id, row.job.state, str(row.job.attempt), "\n".join(row.details))
    return table
