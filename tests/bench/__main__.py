# ruff: noqa: T201  a person reads this
"""``python -m tests.bench``: play contests, print a table for each and the targets. See ``--help``."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from compose.private import VAR, signals
from compose.private.console import say
from compose.private.problems import Problem
from tests.bench import report, targets
from tests.bench.contests import ALL
from tests.bench.rounds import Played, play
from tests.bench.stage import opened


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure the platform beside its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="contests; all when none is named")
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds of fewer jobs, the targets' contestants only"
    )
    parser.add_argument("--rounds", type=int, help="rounds of each contest")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="contestants whose name holds one of the texts")
    parser.add_argument("--list", action="store_true", help="name the contests and who competes")
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
    signals.listen()
    try:
        return run(options)
    except Problem as problem:
        say(str(problem))
        return problem.exit_code
    except signals.Stopped:
        return 130


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 when every contestant could be measured, whatever came out."""
    begin, done = time.monotonic(), list[Played]()
    with opened(options.directory.resolve()) as stage:
        for name in options.names or ALL:
            contest = ALL[name](stage, quick=options.quick)
            wanted = options.only or [""]
            entries = [one for one in contest.field if any(text in one.name for text in wanted)]
            rounds = options.rounds or (contest.quick_rounds if options.quick else contest.rounds)
            print(f"\n{contest.name}: {contest.title}", flush=True)
            done.append(play(contest, entries, rounds))
            print(f"\n{report.contest(done[-1])}", flush=True)
    rows = targets.rows({played.contest.name: played.rounds for played in done})
    form = "quick form: fewer rounds of fewer jobs, so read it as a hint" if options.quick else "full form"
    print(f"\n{report.targets(rows)}\n\n{form}; {time.monotonic() - begin:.0f} s")
    return any(played.errors for played in done)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
