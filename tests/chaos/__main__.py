# ruff: noqa: T201  a person reads this
"""``python -m tests.chaos``: play scenarios, print a line for each, exit 1 on any miss. See ``--help``."""

import argparse
import logging
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import django

from compose.private import VAR, signals
from compose.private.console import say
from compose.private.problems import Problem

# This process is one of Django's too. Where its database and broker are, each scenario says anew (stage.py).
NOWHERE = {
    "DJANGO_SETTINGS_MODULE": "project.settings",
    "SECRET_KEY": "chaos",
    "BROKER_URL": "amqp://nowhere",
    "DATABASE_URL": "postgres://nowhere/nothing",
    "EXTRA_APPS": "tests.probes,project.demo,tests.chaos",
    "LOG_LEVEL": "ERROR",
}


def main(arguments: Sequence[str]) -> int:
    os.environ.update(NOWHERE)
    django.setup()
    from tests.chaos.mutations import MUTATIONS
    from tests.chaos.scenarios import SCENARIOS

    parser = argparse.ArgumentParser(prog="make chaos", description="Break the platform, and count what is left.")
    parser.add_argument("--scenario", nargs="+", action="extend", metavar="NAME", choices=SCENARIOS, default=[])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(100_000))
    parser.add_argument("--mutation", metavar="NAME", choices=MUTATIONS, default="")
    parser.add_argument("--list", action="store_true", help="name scenarios, and the mutations that turn each red")
    parser.add_argument("--directory", type=Path, default=VAR / "chaos", help="for logs and servers; var/chaos")
    options = parser.parse_args(arguments)

    if options.list:
        for name, one in SCENARIOS.items():
            print(f"{name:<28} red under {', '.join(one.red_under)}\n    {one.story}")
        return 0
    names = options.scenario or [
        name for name, one in SCENARIOS.items() if not options.mutation or options.mutation in one.red_under
    ]
    signals.listen()
    logging.disable(logging.CRITICAL)  # the clients' troubles are the point, and no news
    from tests.chaos.run import play_all

    try:
        return play_all([SCENARIOS[name] for name in names], options.seed, options.mutation, options.directory)
    except Problem as problem:
        say(str(problem))
        return problem.exit_code
    except signals.Stopped:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
