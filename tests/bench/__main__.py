# ruff: noqa: T201  a person reads this
"""``python -m tests.bench``: play contests, print a table for each and the targets. See ``--help``."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from compose.private import ROOT, VAR, signals
from compose.private.console import say
from compose.private.problems import Problem
from tests.bench import docs, record, report, targets
from tests.bench.contests import ALL
from tests.bench.figures import Sample
from tests.bench.rounds import Played, play
from tests.bench.stage import opened


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure the platform beside its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="contests; all when none is named")
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds of fewer jobs, the targets' contestants only"
    )
    parser.add_argument("--rounds", type=int, help="rounds of each contest")
    parser.add_argument("--only", nargs="+", metavar="TEXT", default=[""], help="who has one of the texts in the name")
    parser.add_argument("--list", action="store_true", help="name the contests and who competes")
    parser.add_argument(
        "--write-docs", action="store_true", help="write docs/performance.md anew, of the last full run"
    )
    parser.add_argument(
        "--directory", type=Path, default=VAR / "bench", help="for servers, logs and figures; var/bench"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - ALL.keys():
        parser.error(f"no contest is called {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    if options.list:
        for contest in ALL.values():
            print(f"{contest.name:<12} {contest.title}\n    {'; '.join(one.name for one in contest.everybody)}")
        return 0
    if options.write_docs:
        write_docs(options.directory.resolve())
        return 0
    signals.listen()
    try:
        return run(options)
    except Problem as problem:
        say(str(problem))
        return problem.exit_code
    except signals.Stopped:
        return 130


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 when everybody could be measured, whatever came out."""
    begin, done = time.monotonic(), list[Played]()
    directory = options.directory.resolve()
    with opened(directory) as stage:
        for name in options.names or (targets.contests() if options.quick else ALL):
            contest = ALL[name](stage, quick=options.quick)
            entries = [one for one in contest.field if any(text in one.name for text in options.only)]
            rounds = options.rounds or (contest.quick_rounds if options.quick else contest.rounds)
            print(f"\n{contest.name}: {contest.title}", flush=True)
            done.append(play(contest, entries, rounds, tell))
            rows = targets.rows({played.contest.name: played.rounds for played in done})
            found = record.record(done, rows, quick=options.quick, wall_seconds=time.monotonic() - begin)
            record.write(found, directory / "latest.json")
            print(f"\n{report.contest(found.entries(name))}", flush=True)
    print(f"\n{report.targets(found)}\n\n{report.summary(found)}")
    if not options.quick and not options.names and options.only == [""]:
        record.write(found, directory / "full.json")
        write_docs(directory)
    return any(played.errors for played in done)


def write_docs(directory: Path) -> None:
    written = docs.write(record.read(directory / "full.json"), ROOT)
    print("written:", ", ".join(str(path.relative_to(ROOT)) for path in written))


def tell(when: str, name: str, measured: Sample | str) -> None:
    """One run, or the reason why there is none."""
    print(f"  {when}  {name:<48} {measured if isinstance(measured, str) else report.sample(measured)}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
