"""``make lint``: every check, all of them even when one fails."""

import os

from compose.private import ROOT, typescript
from compose.private.console import say
from compose.private.environment import VENV
from compose.private.problems import Problem
from compose.private.process import run

# Settings must import; nothing is connected to.
ENVIRONMENT = {"SECRET_KEY": "lint", "DATABASE_URL": "sqlite://:memory:", "BROKER_URL": "memory://"}

CHECKS: tuple[tuple[str, ...], ...] = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
    ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose/local.yml", "compose/production.yml"),
)


def failures() -> list[str]:
    """Run all checks; the command lines of those that failed."""
    environment = {**os.environ, **ENVIRONMENT}
    failed = []
    for name, *arguments in CHECKS:
        say(" ".join((name, *arguments)))
        if run([VENV / "bin" / name, *arguments], cwd=ROOT, environment=environment):
            failed.append(" ".join((name, *arguments)))
    say("tsc: the TypeScript client against docs/openapi.json, and the documentation's examples against it")
    try:
        typescript.build()
    except Problem as problem:
        failed.append(str(problem))
    return failed
