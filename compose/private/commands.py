"""The command line."""

import argparse
import time
from collections.abc import Sequence

from compose.private import VAR, envfile, signals, system
from compose.private.console import say
from compose.private.problems import Problem
from compose.private.servers import ALL, private_servers

ADDRESSES = VAR / "run" / "platform.env"


def servers() -> int:
    """Run the three servers alone until Ctrl-C; their addresses stand in var/run/platform.env meanwhile."""
    system.ensure_installed(ALL)
    with private_servers(VAR) as running:
        envfile.write(ADDRESSES, running.environment)
        try:
            say(f"RabbitMQ, PostgreSQL and Redis are ready; their addresses: {ADDRESSES}")
            while not signals.requested():
                time.sleep(0.2)
            say("stopping")
        finally:
            ADDRESSES.unlink(missing_ok=True)
    return 0


COMMANDS = {command.__name__: command for command in (servers,)}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m compose.private")
    parser.add_argument("command", choices=COMMANDS)
    options = parser.parse_args(arguments)
    signals.listen()
    try:
        return COMMANDS[options.command]()
    except Problem as problem:
        say(str(problem))
        return problem.exit_code
    except signals.Stopped:
        say("stopped")
        return 130
