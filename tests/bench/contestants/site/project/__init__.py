"""The plain Django project: named like ours, so that compose/django/start serves it with the very same command.

What it has not itself, the server's own module above all, it takes from ours.
"""

from pathlib import Path

__path__.append(str(Path(__file__).resolve().parents[5] / "project"))
