"""manage.py doctor: what is unsafe, and what to do about it"""

import json
import sys
from collections import Counter
from itertools import groupby
from operator import attrgetter
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.doctor.check import Result, Status, link
from tasks.doctor.examination import examine

_COLOURS = {Status.OK: "green", Status.UNKNOWN: "yellow", Status.FINDING: "bold red"}


class Command(BaseCommand):
    help = (
        "Check the running system and its settings, and say what is unsafe, with a remedy. Exit code 1 on a finding; "
        "what could not be asked is told as unknown."
    )
    requires_system_checks = []  # they are one of the checks: an error there must not silence the others

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json",
            action="store_true",
            help="print a list of objects with check, status (ok, finding, unknown), what, remedy and link",
        )

    def handle(self, *, json: bool, no_color: bool, force_color: bool, **_: Any) -> None:
        results = examine()
        if json:
            self._print_json(results)
        else:
            console = Console(file=cast(IO[str], self.stdout), no_color=no_color, force_terminal=force_color or None)
            self._print(results, console)
        if any(result.status is Status.FINDING for result in results):
            sys.exit(1)

    def _print_json(self, results: list[Result]) -> None:
        self.stdout.write(json.dumps([result.as_dict() for result in results], indent=2))

    def _print(self, results: list[Result], console: Console) -> None:
        """Findings last: next to the prompt, where they are seen. One remedy for many is said once."""
        table = Table.grid(padding=(0, 2), pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        by_weight = list(Status)
        ordered = sorted(results, key=lambda result: by_weight.index(result.status))
        for (status, check, remedy), alike in groupby(ordered, key=attrgetter("status", "check", "remedy")):
            text = Text("\n".join(result.what for result in alike))
            if remedy:
                text.append(f"\n→ {remedy}\n  {link(check)}", style="dim")
            table.add_row(Text(status, style=_COLOURS[status]), check, text)
        with console.capture() as printed:
            console.print(table)
        for line in printed.get().splitlines():
            self.stdout.write(line.rstrip())
        counts = Counter(result.status for result in results)
        findings, unknown = counts[Status.FINDING], counts[Status.UNKNOWN]
        self.stdout.write(f"\n{counts[Status.OK]} ok, {unknown} unknown, {findings} finding{'s' * (findings != 1)}")
