"""What the launcher itself says."""

import os
import sys

COLOURS = {"green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36, "red": 31, "bold": 1}


def say(text: str) -> None:
    print(paint("platform", "bold"), "|", text, flush=True)


def paint(text: str, colour: str) -> str:
    """The text in colour where a person reads it; NO_COLOR (no-color.org) and a pipe keep it plain."""
    if "NO_COLOR" in os.environ or not sys.stdout.isatty():
        return text
    return f"\033[{COLOURS[colour]}m{text}\033[0m"
